//! What `gluster` is given. Covers S2-18 and the threat of argument injection (T9).

use std::sync::Mutex as StdMutex;

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

#[tokio::test]
async fn arguments_that_gluster_does_not_take_are_a_refusal() {
    let pool = GlusterCli::new(Recorder::new("", 1));
    let error = pool.start(&volume_name(), false).await.unwrap_err();
    assert_eq!(error.to_string(), "GlusterFS refused `gluster volume start shared`: Volume name is bad");
}
