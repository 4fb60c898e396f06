//! The only place that starts a process.
//!
//! A run of a foreign program is a value, [`Invocation`]; a [`Commander`] carries it out. The real one, [`Processes`],
//! gives the child a clean environment (`PATH`, `LC_ALL=C` and what the invocation names), a closed or given standard
//! input, a process group of its own and a deadline, and bounds what it may print. On the deadline, or when the caller
//! stops waiting, the whole *group* is killed: a tool's grandchildren would otherwise live on.
//!
//! Killing a tool does not cancel what it asked a daemon for; callers read the state again.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Where programs are looked for; the caller's `PATH` is not asked.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A tool that prints more than this is cut off there: no answer that we read is near it.
const MAX_OUTPUT: u64 = 8 * 1024 * 1024;

/// How long a tool may take if the invocation does not say.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// One run of a foreign program, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    stdin: Vec<u8>,
    deadline: Duration,
}

impl Invocation {
    /// A run of `program`: a bare name, looked up in [`SEARCH_PATH`], or an absolute path.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            deadline: DEFAULT_DEADLINE,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments in order.
    #[must_use]
    pub fn args<I: IntoIterator<Item = A>, A: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the child's environment, which is empty but for `PATH` and `LC_ALL`. Never a secret.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives `bytes` as standard input, which is otherwise empty.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Kills the run after `deadline`.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn envs_of(mut self, other: &Self) -> Self {
        self.env.clone_from(&other.env);
        self
    }

    /// The program as it was named.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The arguments as text, for fakes and logs.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        self.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect()
    }

    /// The run as one line for logs and errors: `gluster --xml peer status`.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut line = self.program.display().to_string();
        for word in self.words() {
            line.push(' ');
            line.push_str(&word);
        }
        line
    }
}

/// What a finished program left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub elapsed: Duration,
}

impl Output {
    /// Whether the program exited with 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output as text.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last non-empty line of standard error, else of standard output: what a person would quote.
    #[must_use]
    pub fn complaint(&self) -> String {
        let last = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
        };
        last(&self.stderr).or_else(|| last(&self.stdout)).unwrap_or_else(|| "no output".to_owned())
    }
}

/// Why a program gave no output to read. The program may have changed something: read the state again.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("`{0}` is not installed (looked in {SEARCH_PATH})")]
    NotFound(String),
    /// Whoever can write there decides what root runs.
    #[error("`{}` is not run: {problem}", .path.display())]
    Unsafe { path: PathBuf, problem: String },
    #[error("`{line}` did not finish within {deadline:?} and was killed")]
    TimedOut { line: String, deadline: Duration },
    #[error("`{line}` could not be run")]
    Io {
        line: String,
        #[source]
        source: std::io::Error,
    },
}

/// Carries out invocations. The real one is [`Processes`]; tests put a fake program with state behind it.
#[async_trait::async_trait]
pub trait Commander: Send + Sync {
    /// Runs `invocation` to its end or its deadline.
    async fn run(&self, invocation: Invocation) -> Result<Output, CommandError>;
}

/// Runs real processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Processes;

/// Looks `program` up in [`SEARCH_PATH`] unless it is a path already.
#[must_use]
pub fn find_program(program: &Path) -> Option<PathBuf> {
    if program.is_absolute() {
        return program.is_file().then(|| program.to_owned());
    }
    SEARCH_PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|path| path.is_file())
}

#[async_trait::async_trait]
impl Commander for Processes {
    async fn run(&self, invocation: Invocation) -> Result<Output, CommandError> {
        let line = invocation.describe();
        let started = Instant::now();
        let failed = |source| CommandError::Io { line: line.clone(), source };
        let mut command = tokio::process::Command::from(prepared(&invocation)?);
        command
            .stdin(if invocation.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let mut group = GroupGuard::of(&child);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut pipe) = stdin {
                // A tool that does not read its input is judged by its exit code.
                drop(pipe.write_all(&invocation.stdin).await);
            }
        };
        // The exit ends the run, not the end of the pipes: a daemon that the tool started may hold them open.
        let collect = async {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let status = {
                let drain = async { tokio::join!(feed, read_capped(stdout, &mut out), read_capped(stderr, &mut err)) };
                tokio::pin!(drain);
                tokio::select! {
                    _ = &mut drain => child.wait().await,
                    status = child.wait() => {
                        drop(tokio::time::timeout(LINGER, &mut drain).await);
                        status
                    }
                }
            };
            status.map(|status| Output { code: status.code(), stdout: out, stderr: err, elapsed: started.elapsed() })
        };
        match tokio::time::timeout(invocation.deadline, collect).await {
            Ok(Ok(output)) => {
                group.disarm();
                tracing::debug!(
                    command = line,
                    code = output.code,
                    elapsed_ms = output.elapsed.as_millis() as u64,
                    "ran"
                );
                Ok(output)
            }
            Ok(Err(source)) => Err(failed(source)),
            Err(_) => Err(CommandError::TimedOut { line, deadline: invocation.deadline }),
        }
    }
}

/// Starts `invocation` in a session of its own and leaves it running: it survives this process and its terminal, prints
/// to `log`, and nobody waits for it. Returns its process id.
///
/// # Errors
/// The program is missing or cannot be run.
pub fn spawn_detached(invocation: &Invocation, log: &std::fs::File) -> Result<u32, CommandError> {
    // `setsid` takes the place of a child that leads no group, so its process id is the program's.
    let setsid = Invocation::new("setsid").arg("--").arg(resolve(invocation)?).args(&invocation.args);
    let failed = |source| CommandError::Io { line: invocation.describe(), source };
    let child = prepared(&setsid.envs_of(invocation))?
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log.try_clone().map_err(failed)?)
        .spawn()
        .map_err(failed)?;
    Ok(child.id())
}

/// Becomes `invocation`: same process, same terminal, same open streams; the deadline and the given standard input do
/// not apply. Returns only if that failed.
#[must_use]
pub fn replace_process(invocation: &Invocation) -> CommandError {
    use std::os::unix::process::CommandExt;
    match prepared(invocation) {
        Ok(mut command) => CommandError::Io { line: invocation.describe(), source: command.exec() },
        Err(error) => error,
    }
}

fn resolve(invocation: &Invocation) -> Result<PathBuf, CommandError> {
    let not_found = || CommandError::NotFound(invocation.program.display().to_string());
    let path = find_program(&invocation.program).ok_or_else(not_found)?;
    // A path is the caller's own program, which runs already.
    if !invocation.program.is_absolute() {
        trust(&path)?;
    }
    Ok(path)
}

/// Refuses a program that somebody else than root could have put there, or could change.
fn trust(path: &Path) -> Result<(), CommandError> {
    let failed = |source| CommandError::Io { line: path.display().to_string(), source };
    let file = path.canonicalize().map_err(failed)?;
    let places = [path.parent(), Some(file.as_path()), file.parent()];
    for place in places.into_iter().flatten() {
        let found = std::fs::metadata(place).map_err(failed)?;
        if let Some(problem) = distrust(found.uid(), found.gid(), found.mode()) {
            let problem = format!("{} {problem}; `chown root` and `chmod go-w` it", place.display());
            return Err(CommandError::Unsafe { path: path.to_owned(), problem });
        }
    }
    Ok(())
}

/// Who besides root may write to a file or a directory of this owner, group and mode.
fn distrust(uid: u32, gid: u32, mode: u32) -> Option<&'static str> {
    if uid != 0 {
        Some("does not belong to root")
    } else if mode & 0o002 != 0 {
        Some("can be written by everybody")
    } else if mode & 0o020 != 0 && gid != 0 {
        Some("can be written by a group")
    } else {
        None
    }
}

/// The program with its arguments and the clean environment.
fn prepared(invocation: &Invocation) -> Result<std::process::Command, CommandError> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let mut command = std::process::Command::new(resolve(invocation)?);
    command
        .args(&invocation.args)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("LC_ALL", "C")
        .envs(invocation.env.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// How long output may trickle in after the program has exited.
const LINGER: Duration = Duration::from_millis(100);

async fn read_capped(pipe: Option<impl tokio::io::AsyncRead + Unpin>, into: &mut Vec<u8>) {
    if let Some(pipe) = pipe {
        // A broken pipe ends the output; the exit code tells the rest.
        drop(pipe.take(MAX_OUTPUT).read_to_end(into).await);
    }
}

/// Kills the child's process group unless the program ended by itself: what it left running then (the FUSE client
/// that `mount` leaves behind) is meant to live.
struct GroupGuard(Option<rustix::process::Pid>);

impl GroupGuard {
    fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())))
    }
}

impl GroupGuard {
    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be gone already.
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_output_and_exit_code() {
        let output = Processes.run(Invocation::new("cat").stdin("hello")).await.unwrap();
        assert_eq!((output.code, output.stdout.as_slice()), (Some(0), b"hello".as_slice()));
        let output = Processes.run(Invocation::new("ls").arg("/no/such/file")).await.unwrap();
        assert!(!output.success() && output.complaint().contains("No such file"));
    }

    #[tokio::test]
    async fn names_a_missing_program() {
        let error = Processes.run(Invocation::new("no-such-program")).await.unwrap_err();
        assert!(error.to_string().contains("`no-such-program` is not installed"), "{error}");
    }

    /// T18: what others could have put there is not run.
    #[test]
    fn runs_only_what_root_alone_can_change() {
        assert_eq!(distrust(0, 0, 0o100_755), None);
        assert_eq!(distrust(0, 0, 0o100_775), None, "root's own group");
        for (uid, gid, mode) in [(1000, 0, 0o100_755), (0, 50, 0o40_775), (0, 0, 0o40_777), (0, 0, 0o41_777)] {
            assert!(distrust(uid, gid, mode).is_some(), "{uid} {gid} {mode:o}");
        }
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("gluster");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let error = trust(&program).unwrap_err();
        assert!(matches!(&error, CommandError::Unsafe { path, .. } if *path == program), "{error}");
        trust(&find_program(Path::new("sh")).unwrap()).unwrap();
    }

    #[tokio::test]
    async fn kills_on_the_deadline_and_says_so() {
        let run = Invocation::new("sleep").arg("60").deadline(Duration::from_millis(50));
        assert!(matches!(Processes.run(run).await, Err(CommandError::TimedOut { .. })));
    }

    #[tokio::test]
    async fn a_detached_program_leads_a_session_and_prints_to_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = std::fs::File::create(&path).unwrap();
        // The fields after the name: state, parent, group, session.
        let pid = spawn_detached(&Invocation::new("cat").arg("/proc/self/stat"), &log).unwrap();
        let printed = async {
            loop {
                let text = std::fs::read_to_string(&path).unwrap();
                if text.ends_with('\n') {
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let text = tokio::time::timeout(Duration::from_secs(10), printed).await.unwrap();
        let fields: Vec<&str> = text.split(' ').collect();
        let pid = pid.to_string();
        assert_eq!((fields[0], fields[4], fields[5]), (pid.as_str(), pid.as_str(), pid.as_str()), "{text}");
        let error = spawn_detached(&Invocation::new("no-such-program"), &log).unwrap_err();
        assert!(matches!(error, CommandError::NotFound(_)));
    }

    #[test]
    fn a_program_that_is_missing_replaces_nothing() {
        assert!(matches!(replace_process(&Invocation::new("no-such-program")), CommandError::NotFound(_)));
    }

    #[tokio::test]
    async fn gives_children_a_clean_environment() {
        let output = Processes.run(Invocation::new("env").env("X", "1")).await.unwrap();
        let mut lines: Vec<String> = output.stdout_text().lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines, ["LC_ALL=C".to_owned(), format!("PATH={SEARCH_PATH}"), "X=1".to_owned()]);
    }
}
