//! What `gluster` is given. Covers S2-18 and the threat of argument injection (T9).

use std::sync::Mutex as StdMutex;

use proptest::prelude::*;

use super::*;

/// Answers every run with the same output, and remembers the arguments.
struct Recorder {
    stdout: &'static str,
    code: i32,
    seen: StdMutex<Vec<Vec<String>>>,
}

const DONE: &str = "<cliOutput><opRet>0</opRet><opErrno>0</opErrno><opErrstr/></cliOutput>";

impl Recorder {
    fn new(stdout: &'static str, code: i32) -> Arc<Self> {
        Arc::new(Self { stdout, code, seen: StdMutex::new(Vec::new()) })
    }
}

#[async_trait::async_trait]
impl Commander for Recorder {
    async fn run(&self, invocation: Invocation) -> Result<Output, CommandError> {
        self.seen.lock().unwrap().push(invocation.words());
        Ok(Output {
            code: Some(self.code),
            stdout: self.stdout.into(),
            stderr: b"\nVolume name is bad\nUsage: x".to_vec(),
            elapsed: Duration::ZERO,
        })
    }
}

fn volume_name() -> VolumeName {
    VolumeName::parse("shared").unwrap()
}

fn brick(host: &str, path: &str) -> Brick {
    Brick { host: host.into(), path: path.into() }
}

#[tokio::test]
async fn passes_checked_values_after_the_fixed_words() {
    let recorder = Recorder::new(DONE, 0);
    let pool = GlusterCli::new(recorder.clone());
    let bricks = vec![brick("10.0.0.1", "/data/a"), brick("h2", "/data/a"), brick("10.0.0.3", "/data/a")];
    pool.probe(NodeAddress::parse("10.0.0.2").unwrap()).await.unwrap();
    let new = NewVolume { name: volume_name(), replica: 3, arbiter: 1, bricks: bricks.clone(), force: true };
    pool.create(&new).await.unwrap();
    pool.add_bricks(&volume_name(), 3, 0, &bricks[1..], false).await.unwrap();
    pool.start(&volume_name(), false).await.unwrap();
    pool.set_option(&volume_name(), "auth.allow", "10.0.0.1,10.0.0.2").await.unwrap();
    pool.fix_layout(&volume_name()).await.unwrap();
    let single = NewVolume { name: volume_name(), replica: 1, arbiter: 0, bricks: bricks[..1].to_vec(), force: false };
    pool.create(&single).await.unwrap();
    let lines: Vec<String> = recorder.seen.lock().unwrap().iter().map(|words| words.join(" ")).collect();
    assert_eq!(
        lines,
        [
            "--xml --mode=script peer probe 10.0.0.2",
            "--xml --mode=script volume create shared replica 3 arbiter 1 10.0.0.1:/data/a h2:/data/a 10.0.0.3:/data/a force",
            "--xml --mode=script volume add-brick shared replica 3 h2:/data/a 10.0.0.3:/data/a",
            "--xml --mode=script volume start shared",
            "--xml --mode=script volume set shared auth.allow 10.0.0.1,10.0.0.2",
            "--xml --mode=script volume rebalance shared fix-layout start",
            "--xml --mode=script volume create shared 10.0.0.1:/data/a",
        ]
    );
}

/// T9.
#[tokio::test]
async fn refuses_what_could_be_an_option_before_it_runs_anything() {
    let recorder = Recorder::new(DONE, 0);
    let pool = GlusterCli::new(recorder.clone());
    for bad in [brick("--help", "/data/a"), brick("h1", "-x"), brick("h1", "/etc/x"), brick("h 1", "/data/a")] {
        assert!(pool.add_bricks(&volume_name(), 3, 0, &[bad], false).await.is_err());
    }
    for (option, value) in [("--remote-host=x", "y"), ("auth.allow", "-x"), ("auth.allow", ""), ("auth.allow", "a b")] {
        assert!(pool.set_option(&volume_name(), option, value).await.is_err(), "{option} {value}");
    }
    assert!(recorder.seen.lock().unwrap().is_empty());
}

/// Words that mean something to whoever reads arguments, in any order, and others.
fn odd_text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "-",
        "--",
        "--help",
        "-x",
        "--remote-host=",
        "=",
        "/",
        "..",
        "/data/",
        "/srv",
        ":",
        "h1",
        "10.0.0.1",
        " ",
        "\n",
        "\0",
        "auth.allow",
        "*",
        "force",
        "a,b",
        "é",
    ]);
    prop_oneof![prop::collection::vec(word, 0..4).prop_map(|words| words.concat()), "[ -~]{0,12}"]
}

proptest! {
    /// T9: whatever names, addresses and paths come in, no word that `gluster` is given reads as an option but our own.
    #[test]
    fn no_argument_is_an_option(
        name in odd_text(), host in odd_text(), path in odd_text(), option in odd_text(), value in odd_text(),
    ) {
        let recorder = Recorder::new(DONE, 0);
        let pool = GlusterCli::new(recorder.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let volume = VolumeName::parse(&name).unwrap_or_else(|_| volume_name());
            let bricks = vec![brick(&host, &path)];
            let new = NewVolume { name: volume.clone(), replica: 1, arbiter: 0, bricks: bricks.clone(), force: false };
            // What is refused runs nothing; what runs is looked at below.
            pool.create(&new).await.ok();
            pool.add_bricks(&volume, 3, 0, &bricks, false).await.ok();
            pool.set_option(&volume, &option, &value).await.ok();
            pool.start(&volume, false).await.ok();
            if let Ok(address) = NodeAddress::parse(&host) {
                pool.probe(address).await.ok();
            }
        });
        let seen = recorder.seen.lock().unwrap();
        prop_assert!(!seen.is_empty(), "starting the volume runs always");
        for words in seen.iter() {
            prop_assert_eq!(&words[..2], ["--xml", "--mode=script"]);
            prop_assert!(words[2..].iter().all(|word| !word.is_empty() && !word.starts_with('-')), "{:?}", words);
        }
    }
}

#[tokio::test]
async fn arguments_that_gluster_does_not_take_are_a_refusal() {
    let pool = GlusterCli::new(Recorder::new("", 1));
    let error = pool.start(&volume_name(), false).await.unwrap_err();
    assert_eq!(error.to_string(), "GlusterFS refused `gluster volume start shared`: Volume name is bad");
}
