//! From the arguments to the exit code: parse, read the settings, set up logging, run, report.

use std::ffi::OsString;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use clap::error::ErrorKind;
use serde_json::{Map, Value};

use super::failure::ResultLine;
use super::master::MasterCommand;
use super::node::NodeCommand;
use super::settings::ConfigCommand;
use super::{Cli, Command, Exit, Failure, Outcome, OutputFormat, host, lab, output, settings, signals, tooling};
use crate::config::layer::Flags;
use crate::config::sources::{self, Environment, Loaded};
use crate::logging;

/// Runs the command line `arguments`, the program's name first, and reports how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    install_panic_hook();
    keep_memory_private();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let format = cli.global.output;
    let ended = catch_unwind(AssertUnwindSafe(|| execute(cli))).unwrap_or_else(|_| Err(panicked()));
    ExitCode::from(report(ended, format).code())
}

/// What this process knows of secrets goes into no core dump, and other processes of the same user do not read it.
fn keep_memory_private() {
    // A kernel that refuses leaves the process as any other.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).ok();
}

/// Help and version are asked for and go to stdout; the rest is an error, with its last line like any other.
fn usage(error: &clap::Error) -> ExitCode {
    // If neither stream can be written, the exit code still says it.
    error.print().ok();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => {
            let exit = Exit::Usage;
            let next = Some("clusterctl --help".to_owned());
            say(&format!("{}\n", ResultLine { exit, reason: exit.reason().into(), next }));
            ExitCode::from(exit.code())
        }
    }
}

fn execute(cli: Cli) -> Result<Outcome, Failure> {
    let format = cli.global.output;
    // These need no settings, and must work where the settings are broken.
    match &cli.command {
        Command::Completions(args) => return tooling::completions(args),
        Command::Man(args) => return tooling::man(args),
        Command::Version => return tooling::version(format),
        Command::ProbeMount(args) => host::probe_mount(args),
        Command::Master(_)
        | Command::Node(_)
        | Command::Token(_)
        | Command::Request(_)
        | Command::Ip(_)
        | Command::Config(_)
        | Command::Lab(_) => {}
    }
    let loaded = sources::load(cli.global.config.as_deref(), &Environment::of_process(), flags(&cli))?;
    let _guard = logging::init(&loaded.settings.common.log)
        .map_err(|error| Failure::new(Exit::InvalidInput, error).reason("log-unusable").hint(LOG_FILE_HINT))?;
    if acts_on_settings(&cli.command) {
        loaded.doubts.iter().for_each(|doubt| tracing::warn!("{doubt}"));
    }
    let runtime = runtime(&cli.command).map_err(|error| {
        Failure::new(Exit::Waiting, error).reason("no-resources").hint("the host is out of threads")
    })?;
    let ended = runtime.block_on(dispatch(cli.command, loaded, format));
    // A read that nobody answers any more (a prompt, a hung mount) must not keep the process.
    runtime.shutdown_background();
    ended
}

const LOG_FILE_HINT: &str = "`--log-file`, `CLUSTERCTL_LOG_FILE` or `log.file` in the settings file names it";

fn flags(cli: &Cli) -> Flags {
    let mut flags = Flags::default();
    cli.global.collect(&mut flags);
    match &cli.command {
        Command::Master(command) => command.collect(&mut flags),
        Command::Node(command) => command.collect(&mut flags),
        Command::Token(command) => command.collect(&mut flags),
        Command::Request(command) => command.collect(&mut flags),
        Command::Ip(_)
        | Command::Config(_)
        | Command::Lab(_)
        | Command::Completions(_)
        | Command::Version
        | Command::Man(_)
        | Command::ProbeMount(_) => {}
    }
    flags
}

/// Whether it is worth saying that a setting is hardly meant.
fn acts_on_settings(command: &Command) -> bool {
    match command {
        Command::Master(MasterCommand::Init(_) | MasterCommand::Serve(_))
        | Command::Node(NodeCommand::Join(_))
        | Command::Config(_) => true,
        Command::Master(
            MasterCommand::Status(_)
            | MasterCommand::Cert(_)
            | MasterCommand::Admin(_)
            | MasterCommand::Backup(_)
            | MasterCommand::Restore(_)
            | MasterCommand::Reset(_),
        )
        | Command::Node(
            NodeCommand::Leave(_)
            | NodeCommand::Status(_)
            | NodeCommand::List(_)
            | NodeCommand::Show(_)
            | NodeCommand::Remove(_)
            | NodeCommand::Replace(_),
        )
        | Command::Token(_)
        | Command::Request(_)
        | Command::Ip(_)
        | Command::Lab(_)
        | Command::Completions(_)
        | Command::Version
        | Command::Man(_)
        | Command::ProbeMount(_) => false,
    }
}

/// The controller uses every processor; all other commands are one conversation, and start faster on one thread.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match command {
        Command::Master(MasterCommand::Serve(_)) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    builder.enable_all().build()
}

async fn dispatch(command: Command, loaded: Loaded, format: OutputFormat) -> Result<Outcome, Failure> {
    match command {
        // The controller waits for signals itself, to end in order.
        Command::Master(command @ MasterCommand::Serve(_)) => command.run(loaded.settings, format).await,
        Command::Master(command) => until_signal(command.run(loaded.settings, format)).await,
        Command::Node(command) => until_signal(command.run(loaded.settings, format)).await,
        Command::Token(command) => until_signal(command.run(loaded.settings, format)).await,
        Command::Request(command) => until_signal(command.run(loaded.settings, format)).await,
        Command::Lab(args) => {
            let ran = async { lab::run(args, format.is_structured()).await.map(|()| Outcome::printed()) };
            until_signal(async { ran.await.map_err(|error| Failure::from_anyhow(error, Exit::Waiting)) }).await
        }
        Command::Config(ConfigCommand::Show) => settings::show(loaded, format),
        Command::Ip(args) => host::ip(&args, format),
        Command::Completions(args) => tooling::completions(&args),
        Command::Man(args) => tooling::man(&args),
        Command::Version => tooling::version(format),
        Command::ProbeMount(args) => host::probe_mount(&args),
    }
}

async fn until_signal(work: impl Future<Output = Result<Outcome, Failure>>) -> Result<Outcome, Failure> {
    tokio::select! {
        // Signals first, so that they are listened for before the work begins.
        biased;
        signal = signals::shutdown() => Err(signal.into_failure()),
        ended = work => ended,
    }
}

/// Prints what is left to print; the `result=` line is the last on stderr.
fn report(ended: Result<Outcome, Failure>, format: OutputFormat) -> Exit {
    let ended = ended.and_then(|outcome| print_body(&outcome, format).map(|()| outcome));
    match ended {
        Ok(outcome) => {
            if let Some(line) = &outcome.line {
                say(&format!("{line}\n"));
            }
            outcome.exit()
        }
        Err(failure) => {
            if format.is_structured() && failure.exit() != Exit::PipeClosed {
                // If stdout is closed, stderr still says it.
                output::print_value(format, &failure.to_json()).ok();
            }
            say(&failure.report());
            failure.exit()
        }
    }
}

fn print_body(outcome: &Outcome, format: OutputFormat) -> Result<(), Failure> {
    if !format.is_structured() || (outcome.body.is_none() && outcome.line.is_none()) {
        return Ok(());
    }
    let mut object = match outcome.body.clone() {
        Some(Value::Object(object)) => object,
        Some(other) => Map::from_iter([("value".to_owned(), other)]),
        None => Map::new(),
    };
    if let Some(line) = &outcome.line {
        line.add_to(&mut object);
    }
    output::print_value(format, &Value::Object(object))
}

/// Writes to stderr; if that is closed there is nobody left to tell.
fn say(text: &str) {
    std::io::stderr().lock().write_all(text.as_bytes()).ok();
}

/// What the last panic said.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// A panic in one task of the controller is logged and the others go on; one that ends the program is reported by
/// [`run`] after that.
fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let words = payload.downcast_ref::<&str>().copied();
        let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        let place = info.location().map_or_else(|| "unknown place".to_owned(), ToString::to_string);
        let text = format!("{words} at {place}");
        tracing::error!(what = words, place, "internal error");
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }));
}

fn panicked() -> Failure {
    let what = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
    let what = what.unwrap_or_else(|| "no message".to_owned());
    Failure::message(Exit::Bug, format_args!("internal error: {what}"))
        .hint("this is a bug in clusterctl; please report it with this line and `clusterctl version`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::signals::Signal;

    #[tokio::test]
    async fn work_that_ends_is_not_waited_for() {
        assert_eq!(until_signal(async { Ok(Outcome::differs()) }).await.unwrap().exit(), Exit::Differs);
    }

    #[test]
    fn signals_and_panics_have_their_codes() {
        assert_eq!(Signal::Interrupt.into_failure().exit().code(), 130);
        assert_eq!(Signal::Terminate.into_failure().exit().code(), 143);
        *PANIC.lock().unwrap() = Some("index out of bounds at src/x.rs:1:2".to_owned());
        insta::assert_snapshot!(panicked().report(), @r"
        error: internal error: index out of bounds at src/x.rs:1:2
        hint: this is a bug in clusterctl; please report it with this line and `clusterctl version`
        result=failed reason=bug next=-
        ");
    }
}
