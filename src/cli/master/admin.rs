//! `clusterctl master admin`: who may administer the cluster from another host. Types and help, and the commands.
//!
//! The surprising part: the key is made here and never leaves; the controller gets its public half and certifies it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};

use crate::cli::admin_file::{AdminFile, Reserved};
use crate::cli::controller_access::Access;
use crate::cli::flags::AccessArgs;
use crate::cli::output::{Table, print, text};
use crate::cli::relative_time;
use crate::cli::{Exit, Failure, Outcome, OutputFormat, join_address};
use crate::clock::{Clock, SystemClock};
use crate::cluster::Secret;
use crate::config::layer::Flags;
use crate::config::{MasterAddress, Settings};
use crate::logging::escape;
use crate::pki::names::{AdminNameError, check_admin_name};
use crate::protocol::registration::RawRequest;

pub(super) const ABOUT: &str = "Let somebody administer the cluster from another host";

pub(super) const EXAMPLES: &str = "\
Examples:
  clusterctl master admin create alice --out alice.json
  clusterctl master admin list
  clusterctl master admin revoke alice";

/// The commands.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AdminCommand {
    #[command(about = "Make an administrator's file", long_about = CREATE_LONG, after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    #[command(about = "List the administrators", after_help = EXAMPLES)]
    List(ListArgs),
    #[command(about = "End what an administrator's file opens", long_about = REVOKE_LONG, after_help = REVOKE_EXAMPLES)]
    Revoke(RevokeArgs),
}

const REVOKE_LONG: &str = "\
From now on the administrator's file opens nothing. The name can be given to a new one.";
const REVOKE_EXAMPLES: &str = "\
Examples:
  clusterctl master admin revoke alice";

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    access: AccessArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RevokeArgs {
    /// Whose file is to open nothing any more
    #[arg(value_parser = name)]
    name: String,
    #[command(flatten)]
    access: AccessArgs,
}

const CREATE_LONG: &str = "\
Makes a key on this host, has the controller certify it, and writes it with what is needed to reach the controller \
into a file that only its owner can read. Whoever has the file administers the cluster, from any host that reaches the \
controller: `--admin-cert FILE`, or CLUSTERCTL_ADMIN_CERT. A file that is there is never written over.";
const CREATE_EXAMPLES: &str = "\
Examples:
  clusterctl master admin create alice --out alice.json
  clusterctl node list --admin-cert alice.json            on another host";

#[derive(Debug, Args)]
pub(in crate::cli) struct CreateArgs {
    /// Whom to call it after: letters, digits, `.`, `_` and `-`, the first a letter or digit
    #[arg(value_parser = name)]
    name: String,
    /// The file to make
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    access: AccessArgs,
}

/// A name goes into the certificate and into logs.
fn name(text: &str) -> Result<String, AdminNameError> {
    check_admin_name(text).map(|()| text.to_owned())
}

impl AdminCommand {
    pub(super) fn collect(&self, flags: &mut Flags) {
        match self {
            Self::Create(args) => args.access.collect(flags),
            Self::List(args) => args.access.collect(flags),
            Self::Revoke(args) => args.access.collect(flags),
        }
    }

    pub(super) async fn run(self, settings: &Settings, output: OutputFormat) -> Result<Outcome, Failure> {
        match self {
            Self::Create(args) => create(settings, &args, output).await,
            Self::List(_) => list(settings, output).await,
            Self::Revoke(args) => revoke(settings, &args, output).await,
        }
    }
}

/// `clusterctl master admin list`.
async fn list(settings: &Settings, output: OutputFormat) -> Result<Outcome, Failure> {
    let admins = Access::of(settings)?.list("admins", "Admins").await?;
    if !output.is_structured() {
        table(&admins, SystemClock.now()).print()?;
    }
    Ok(Outcome::printed().body(json!({ "Admins": admins })))
}

fn table(admins: &[Value], now: Timestamp) -> Table {
    let mut table = Table::new(["name", "status", "created", "key"]);
    for admin in admins {
        table.row([
            text(&admin["Name"]),
            text(&admin["Status"]),
            relative_time::cell(&admin["Created"], now),
            text(&admin["Key"]),
        ]);
    }
    table
}

/// `clusterctl master admin revoke`.
async fn revoke(settings: &Settings, args: &RevokeArgs, output: OutputFormat) -> Result<Outcome, Failure> {
    let request = RawRequest { action: "admin-revoke".to_owned(), name: args.name.clone(), ..RawRequest::default() };
    Access::of(settings)?.ask(&request).await?;
    if !output.is_structured() {
        print(&format!("what was made for `{}` opens nothing any more\n", args.name))?;
    }
    Ok(Outcome::done("revoked").body(json!({ "name": args.name })))
}

/// `clusterctl master admin create`.
async fn create(settings: &Settings, args: &CreateArgs, output: OutputFormat) -> Result<Outcome, Failure> {
    let access = Access::of(settings)?;
    let reserved = Reserved::at(&args.out).map_err(|error| unwritable(&args.out, error))?;
    let key = KeyPair::generate().map_err(|error| {
        Failure::new(Exit::StorageUnsafe, error).reason("no-key").hint("the host gives no randomness")
    })?;
    let address = join_address::find(&access, settings).await?;
    let controller = MasterAddress::parse(&address).map_err(|error| Failure::new(Exit::Bug, error))?;
    let reply = access.ask(&certify(&args.name, &key)).await?;
    let admin = credentials(&args.name, controller, &key, &reply)?;
    reserved.fill(&admin).map_err(|error| unwritable(&args.out, error))?;
    if !output.is_structured() {
        let ends = relative_time::cell(&reply["NotAfter"], SystemClock.now());
        let ends = if ends.is_empty() { ends } else { format!(" and ends {}", escape::line(&ends)) };
        print(&format!(
            "`{0}` makes `{1}` an administrator of {address}{ends}\n\
             It is a secret: whoever has it administers the cluster. On another host:\n  clusterctl node list --admin-cert {0}\n",
            escape::line(&args.out.display().to_string()),
            args.name,
        ))?;
    }
    Ok(Outcome::done("created").next("clusterctl node list").body(json!({
        "name": args.name, "file": args.out, "controller": address, "expires": reply["NotAfter"],
    })))
}

fn certify(name: &str, key: &KeyPair) -> RawRequest {
    RawRequest {
        action: "admin-create".to_owned(),
        name: name.to_owned(),
        public_key: data_encoding::BASE64.encode(&key.subject_public_key_info()),
        ..RawRequest::default()
    }
}

/// The key with what the controller made of it.
fn credentials(name: &str, controller: MasterAddress, key: &KeyPair, reply: &Value) -> Result<AdminFile, Failure> {
    let (certificate, authorities) = (text(&reply["Certificate"]), text(&reply["Authorities"]));
    if certificate.is_empty() || authorities.is_empty() {
        return Err(Failure::message(Exit::Incompatible, "the controller's answer holds no certificate")
            .reason("bad-reply")
            .hint("see that the controller runs the same version as this program (`clusterctl version`)"));
    }
    let private_key = Secret::new(key.serialize_pem());
    Ok(AdminFile { name: name.to_owned(), controller, private_key, certificate, authorities })
}

fn unwritable(path: &Path, error: std::io::Error) -> Failure {
    let (reason, hint) = match error.kind() {
        ErrorKind::AlreadyExists => ("file-exists", "it was left as it is; name another file"),
        _ => ("file-unwritable", "name a file in a directory that can be written to"),
    };
    let error = anyhow::Error::new(error).context(format!("cannot make `{}`", path.display()));
    Failure::new(Exit::InvalidInput, error).reason(reason).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::registration::{Administer, Request};

    /// What is taken here is what the controller takes, so that a wrong name is a usage error.
    #[test]
    fn names_go_into_certificates() {
        let (longest, longer) = ("a".repeat(64), "a".repeat(65));
        let asked =
            |name: &str| RawRequest { name: name.to_owned(), action: "admin-revoke".into(), ..RawRequest::default() };
        for text in ["alice", "ops.team_1-b", "a", "1", &longest] {
            assert_eq!(name(text).as_deref(), Ok(text));
            assert!(asked(text).check().is_ok(), "{text:?}");
        }
        for text in ["", "-x", ".x", "_x", "a@b.org", "a b", "a/b", "a%20", "ü", "a\n", &longer] {
            assert!(name(text).is_err() && asked(text).check().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_list_shows_whose_file_opens_something() {
        let now = Timestamp::from_second(1_767_323_045).unwrap();
        let created = (now - jiff::SignedDuration::from_secs(120)).to_string();
        let admins = [
            json!({"Name": "alice", "Status": "valid", "Created": created, "Key": "k3x5"}),
            json!({"Name": "bob", "Status": "revoked"}),
        ];
        insta::assert_snapshot!(table(&admins, now).to_string(), @r"
        NAME   STATUS   CREATED    KEY
        alice  valid    2 min ago  k3x5
        bob    revoked  -          -
        ");
    }

    /// The controller gets the public half, in the form that it takes.
    #[test]
    fn the_key_stays_here() {
        let key = KeyPair::generate().unwrap();
        let request = certify("alice", &key);
        let sent = serde_json::to_string(&request).unwrap();
        let secret = key.serialize_pem();
        assert!(!sent.contains(secret.lines().nth(1).unwrap()));
        let Ok(Request::Administer(Administer::CreateAdmin { name, spki })) = request.check() else {
            panic!("the request is as the controller wants it: {sent}")
        };
        assert_eq!((name.as_str(), spki), ("alice", key.subject_public_key_info()));
    }

    #[test]
    fn the_file_holds_the_key_and_what_the_controller_made_of_it() {
        let key = KeyPair::generate().unwrap();
        let controller = || MasterAddress::parse("10.0.0.1:7000").unwrap();
        let reply = json!({"Certificate": "c", "Authorities": "a", "NotAfter": "x"});
        let admin = credentials("alice", controller(), &key, &reply).unwrap();
        assert_eq!((admin.certificate.as_str(), admin.authorities.as_str()), ("c", "a"));
        assert_eq!(admin.private_key.reveal(), key.serialize_pem());
        let nothing = credentials("alice", controller(), &key, &json!({"Status": "ready"})).unwrap_err();
        assert_eq!(nothing.exit(), Exit::Incompatible);
    }
}
