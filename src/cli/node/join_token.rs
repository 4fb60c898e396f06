//! The admission token of a join: from a file, from stdin, from the flag, or from the settings. It is judged before
//! anything is contacted, and no error repeats a part of it.

use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::admin_file::others_can_read;
use crate::cli::flags::TokenArgs;
use crate::cli::{Exit, Failure};
use crate::cluster::{JoinToken, JoinTokenError, Secret};
use crate::config::Settings;

/// A token has 94 characters; a file with more than this is something else.
const MAX_BYTES: u64 = 4 * 1024;

/// The name that stands for stdin.
const STDIN: &str = "-";

/// The token to join with, if there is one. A file that is named on the command line goes before the settings.
///
/// # Errors
/// If the file cannot be read, or what was given is no token. Nothing was contacted.
pub(super) async fn join_token(settings: &Settings, args: &TokenArgs) -> Result<Option<JoinToken>, Failure> {
    if args.token.is_some() {
        tracing::warn!("the token is visible in this host's list of processes; prefer `--token-file FILE`");
    }
    let text = match &args.token_file {
        Some(file) => Some(read(file).await?),
        None => settings.node.token.clone(),
    };
    text.map(|text| JoinToken::parse(text.reveal()).map_err(refused)).transpose()
}

fn refused(error: JoinTokenError) -> Failure {
    Failure::new(Exit::InvalidInput, error)
        .reason("bad-token")
        .hint("take it whole out of what `clusterctl token create` printed on the master, `CCTL1-` included")
}

async fn read(file: &Path) -> Result<Secret, Failure> {
    let stdin = file.as_os_str() == STDIN;
    if !stdin && others_can_read(file) {
        tracing::warn!("`{0}` holds a token and others can read it: `chmod 600 {0}`", file.display());
    }
    let path = file.to_owned();
    // On a thread of its own: a signal must end the command while nobody writes to stdin or to a pipe.
    let read = tokio::task::spawn_blocking(move || {
        let source: Box<dyn Read> =
            if stdin { Box::new(std::io::stdin().lock()) } else { Box::new(std::fs::File::open(path)?) };
        let mut text = Zeroizing::new(String::new());
        source.take(MAX_BYTES).read_to_string(&mut text).map(|_| text)
    });
    match read.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(error) => {
            let name = if stdin { "stdin".to_owned() } else { format!("`{}`", file.display()) };
            let error = anyhow::Error::new(error).context(format!("the token cannot be read from {name}"));
            Err(Failure::new(Exit::InvalidInput, error)
                .reason("token-file")
                .hint("`--token-file` names a file that holds the token and nothing else; `-` is stdin"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cluster::{KeyFingerprint, ShortId, TokenSecret};
    use crate::config::layer::Flags;
    use crate::config::sources::{self, Environment};

    fn token() -> String {
        let token = JoinToken {
            pin: KeyFingerprint::of_public_key(b"ca"),
            id: ShortId::of_bytes([1, 2, 3, 4, 5]),
            secret: TokenSecret::of_bytes([7; 16]),
        };
        token.reveal()
    }

    fn settings(environment: &[(&str, &str); 1], args: &TokenArgs) -> Settings {
        let mut flags = Flags::default();
        args.collect(&mut flags);
        sources::load(Some(Path::new("/dev/null")), &Environment::from(*environment), flags).unwrap().settings
    }

    fn args(token: Option<&str>, file: Option<&Path>) -> TokenArgs {
        TokenArgs { token: token.map(Secret::new), token_file: file.map(Path::to_owned) }
    }

    async fn given(environment: [(&str, &str); 1], args: &TokenArgs) -> Result<Option<String>, Failure> {
        join_token(&settings(&environment, args), args).await.map(|token| token.map(|token| token.reveal()))
    }

    #[tokio::test]
    async fn comes_from_file_flag_or_environment() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, format!("  {}\n", token())).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let nothing = ("CLUSTERCTL_TOKEN", "");
        assert_eq!(given([nothing], &args(None, None)).await.unwrap(), None);
        assert_eq!(given([nothing], &args(None, Some(&file))).await.unwrap(), Some(token()));
        assert_eq!(given([nothing], &args(Some(&token()), None)).await.unwrap(), Some(token()));
        assert_eq!(given([("CLUSTERCTL_TOKEN", &token())], &args(None, None)).await.unwrap(), Some(token()));
        // What was typed goes first, whatever the environment holds.
        assert_eq!(given([("CLUSTERCTL_TOKEN", "hush")], &args(Some(&token()), None)).await.unwrap(), Some(token()));
        assert_eq!(given([("CLUSTERCTL_TOKEN", "hush")], &args(None, Some(&file))).await.unwrap(), Some(token()));
    }

    /// T15: a token that is wrong may be one that lacks a letter.
    #[tokio::test]
    async fn what_is_wrong_is_never_repeated() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let damaged = token()[..90].to_owned();
        for text in ["hush", &damaged, "CCTL7-hush", "SWMTKN-1-hush"] {
            std::fs::write(&file, text).unwrap();
            for arguments in [args(Some(text), None), args(None, Some(&file))] {
                let failure = given([("CLUSTERCTL_TOKEN", "")], &arguments).await.unwrap_err();
                assert_eq!(failure.exit(), Exit::InvalidInput);
                let shown = format!("{}{failure:?}{}", failure.report(), failure.to_json());
                assert!(!shown.contains("hush") && !shown.contains(&damaged[60..]), "{shown}");
                assert!(shown.contains("bad-token"), "{shown}");
            }
        }
        let missing =
            given([("CLUSTERCTL_TOKEN", "")], &args(None, Some(Path::new("/no/such/file")))).await.unwrap_err();
        assert!(missing.report().contains("/no/such/file"), "{}", missing.report());
        std::fs::write(&file, [0xff, 0xfe]).unwrap();
        assert_eq!(
            given([("CLUSTERCTL_TOKEN", "")], &args(None, Some(&file))).await.unwrap_err().exit(),
            Exit::InvalidInput
        );
    }
}
