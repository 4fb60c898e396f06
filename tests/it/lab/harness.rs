//! A lab for one test: made by the built `clusterctl` itself, removed when the test ends, also by a panic. What an
//! interrupted run left behind is cleared when the same test starts again.
//!
//! Blocking on purpose, so that `Drop` can clean up from wherever the test stands.

use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clusterctl::lab::preflight;
use clusterctl::providers::command::{CommandError, Commander, Invocation, Output, Processes};

/// How long one command of a test may take unless it says otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether this machine carries labs. Says loudly that `test` is skipped if not.
///
/// # Panics
/// With `CI=true`: there a skipped test is a failed one.
pub(crate) fn usable(test: &str) -> bool {
    let Err(reason) = preflight::check() else { return true };
    #[expect(clippy::disallowed_methods, reason = "whether to skip is asked of the environment, not of the product")]
    let ci = std::env::var("CI");
    assert!(ci.as_deref() != Ok("true"), "{test} cannot run here: {reason}");
    // Past the capture of the test harness.
    std::io::stderr().write_all(format!("\n*** SKIPPED {test}: {reason}\n\n").as_bytes()).ok();
    false
}

/// Runs `invocation` to its end, from inside a runtime or outside.
pub(crate) fn run(invocation: Invocation) -> Result<Output, CommandError> {
    let words = invocation.words();
    let block = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Processes.run(invocation))
    };
    let ended = std::thread::scope(|scope| scope.spawn(block).join().unwrap());
    if let Ok(output) = &ended {
        remember(&words, output);
    }
    ended
}

/// What a command of clusterctl in a lab's host printed.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) command: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// By the lab's name.
static SAID: Mutex<Vec<(String, Said)>> = Mutex::new(Vec::new());

/// Keeps what commands of clusterctl in a host print, also those that a shell runs there.
fn remember(words: &[String], output: &Output) {
    let after = |word: &str| words.iter().position(|known| known == word).map(|at| &words[at + 1..]);
    let (Some(command), Some([name, ..])) = (after("--"), after("--name")) else { return };
    if command.iter().any(|word| word == "clusterctl" || word.contains("clusterctl node join")) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let said = Said { command: command.join(" "), stdout, stderr };
        SAID.lock().unwrap().push((name.clone(), said));
    }
}

/// A run of `clusterctl lab`.
pub(crate) fn clusterctl_lab(words: &[&str]) -> Invocation {
    Invocation::new(env!("CARGO_BIN_EXE_clusterctl")).arg("lab").args(words).deadline(PATIENCE)
}

/// Asks until `done`, at most `within`.
///
/// # Panics
/// It was not done by then; says `what`.
pub(crate) fn wait_for(what: &str, within: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !done() {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The lab's name for a test: two checkouts that run the same test on one machine do not meet.
pub(crate) fn name_for(test: &str) -> String {
    let checkout = env!("CARGO_MANIFEST_DIR").bytes().fold(0_u16, |sum, byte| sum.wrapping_mul(31) ^ u16::from(byte));
    format!("{test}-{checkout:04x}")
}

/// A running lab.
pub(crate) struct Lab {
    name: String,
    since: Instant,
    addresses: Vec<Ipv4Addr>,
}

impl Lab {
    /// Starts a lab for the test `name` (at most 15 characters), with h1, h2 and so on.
    ///
    /// # Panics
    /// It does not come up; shows what `clusterctl lab up` says.
    pub(crate) fn up(name: &str, hosts: u8) -> Self {
        Self::up_with(name, hosts, &[])
    }

    /// As [`Self::up`], with further options of `clusterctl lab up`.
    pub(crate) fn up_with(name: &str, hosts: u8, options: &[&str]) -> Self {
        let name = name_for(name);
        let mut lab = Self { name, since: Instant::now(), addresses: Vec::new() };
        lab.lab(&["down"], &[]);
        let hosts = hosts.to_string();
        lab.lab(&["up", "--hosts", &hosts], options);
        let status = lab.status();
        let rows = status.as_array().unwrap().iter();
        lab.addresses = rows.map(|row| row["ip"].as_str().unwrap().parse().unwrap()).collect();
        lab
    }

    /// The lab's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many hosts it has.
    pub(crate) fn size(&self) -> u8 {
        u8::try_from(self.addresses.len()).unwrap()
    }

    /// Minutes since before it was there.
    pub(crate) fn minutes(&self) -> u64 {
        self.since.elapsed().as_secs() / 60 + 2
    }

    /// What commands of clusterctl in its hosts have printed.
    pub(crate) fn said(&self) -> Vec<Said> {
        let said = SAID.lock().unwrap();
        said.iter().filter(|(name, _)| *name == self.name).map(|(_, said)| said.clone()).collect()
    }

    /// The address of host `n`, counted from 1.
    pub(crate) fn host_ip(&self, n: u8) -> Ipv4Addr {
        self.addresses[usize::from(n) - 1]
    }

    /// A run of `argv` in host `n`, to add a deadline or an input to.
    pub(crate) fn invocation(&self, n: u8, argv: &[&str]) -> Invocation {
        let host = format!("h{n}");
        clusterctl_lab(&["exec", &host, "--name", &self.name, "--"]).args(argv.iter().copied())
    }

    /// Runs `argv` in host `n`, whatever comes of it.
    ///
    /// # Panics
    /// It takes longer than two minutes.
    pub(crate) fn exec(&self, n: u8, argv: &[&str]) -> Output {
        run(self.invocation(n, argv)).unwrap_or_else(|error| panic!("h{n}: {argv:?}: {error}"))
    }

    /// Runs `argv` in host `n`, which must succeed, and returns what it printed without the last line break.
    ///
    /// # Panics
    /// It fails; shows its output.
    pub(crate) fn ok(&self, n: u8, argv: &[&str]) -> String {
        let output = self.exec(n, argv);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.success(), "h{n}: {argv:?}: {:?}\n{}{errors}", output.code, output.stdout_text());
        output.stdout_text().trim_end().to_owned()
    }

    /// Takes host `n` off the network.
    pub(crate) fn cut(&self, n: u8) {
        self.lab(&["cut", &format!("h{n}")], &[]);
    }

    /// Puts host `n` back on the network.
    pub(crate) fn heal(&self, n: u8) {
        self.lab(&["heal", &format!("h{n}")], &[]);
    }

    /// Cuts the power of host `n`.
    pub(crate) fn kill(&self, n: u8) {
        self.lab(&["kill", &format!("h{n}")], &[]);
    }

    /// Boots host `n` again and waits for its services.
    pub(crate) fn start(&self, n: u8) {
        self.lab(&["start", &format!("h{n}")], &[]);
    }

    /// What `clusterctl lab status --output json` prints.
    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.lab(&["status"], &["--output", "json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn lab(&self, words: &[&str], options: &[&str]) -> Output {
        let invocation = clusterctl_lab(words).args(["--name", &self.name]).args(options.iter().copied());
        let output = run(invocation).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.success(), "`clusterctl lab {words:?}`: {:?}\n{said}", output.code);
        output
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(status) = run(clusterctl_lab(&["status", "--name", &self.name]))
        {
            eprintln!("{}{}", status.stdout_text(), String::from_utf8_lossy(&status.stderr));
        }
        let down = run(clusterctl_lab(&["down", "--name", &self.name]));
        let is_gone = down.as_ref().is_ok_and(Output::success);
        // A second panic would abort the run and hide the first.
        if !is_gone && std::thread::panicking() {
            eprintln!("lab {} is left over: {down:?}", self.name);
        } else {
            assert!(is_gone, "lab {} is left over: {down:?}", self.name);
        }
    }
}
