//! Kills at random moments on lab hosts, while every host joins again and again and writes to the volume. What was
//! acknowledged stays, and once it is over every host gets to where it should be.
//!
//! `SOAK_SECONDS` says for how long, `SOAK_SEED` which sweep: `make soak`. The surprise: a seed fixes what is done and
//! in which order, on each host and by the killer; what coincides is the machine's business, so that a seed which fails
//! may have to be run several times.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Cluster, Ended, MOUNT, PATIENCE};
use crate::invariants::endings::documented;
use crate::lab::{usable, wait_for};
use crate::sim::{chance::Dice, setting};

/// The first is the master, the first three hold the bricks, and the last comes and goes.
const HOSTS: [u8; 4] = [1, 2, 3, 4];

/// A join that gives up soon, so that there are many of them.
const SHORT: [&str; 2] = ["--timeout", "20s"];

/// In a host: writes a file to the volume and prints its checksum once the volume has it. From
/// inside the mount, so that nothing is written beneath it should it go away.
const WRITE: &str = r#"cd "$0" && test "$(stat -f -c %T .)" = fuseblk &&
    head -c 65536 /dev/urandom >/tmp/canary &&
    timeout 60 dd if=/tmp/canary of="$1" conv=fsync status=none && sha256sum </tmp/canary"#;

/// I2, I3, I5 to I9, I11: a controller, joins, dockerd, glusterd and whole hosts are killed, and hosts are cut off.
#[test]
fn lab_kills_at_random_moments_lose_nothing() {
    if !usable("lab_kills_at_random_moments_lose_nothing") {
        return;
    }
    let (seconds, seed) = (setting("SOAK_SECONDS").unwrap_or(45), setting("SOAK_SEED").unwrap_or(1));
    println!("SOAK_SECONDS={seconds} SOAK_SEED={seed}");
    let cluster = Cluster::up("e2e-soak", 4);
    cluster.init(&["--enable-glusterfs"]);
    cluster.serve("");
    cluster.join_together(&HOSTS[..3]);
    cluster.expect_three_copies([1, 2, 3]);
    let written = Sweep::new(&cluster, seed).run(Duration::from_secs(seconds));
    println!("{} files were written", written.len());
    assert!(!written.is_empty(), "nothing was written");
    recover(&cluster);
    cluster.check_invariants(&HOSTS, &written);
}

/// A sweep under way.
struct Sweep<'a> {
    cluster: &'a Cluster,
    dice: Dice,
    begin: Instant,
    over: AtomicBool,
    /// For each host: odd while its commands of clusterctl are being killed, and otherwise twice as often as they were.
    kills: [AtomicUsize; HOSTS.len()],
}

/// Whoever ends, by a fault too, ends it for all.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<'a> Sweep<'a> {
    fn new(cluster: &'a Cluster, seed: u64) -> Self {
        let (dice, over, kills) = (Dice::of(seed), AtomicBool::new(false), Default::default());
        Self { cluster, dice, begin: Instant::now(), over, kills }
    }

    /// Goes on for so long, or until somebody finds a fault. Returns the files that were acknowledged, with their
    /// checksums.
    fn run(&self, length: Duration) -> BTreeMap<String, String> {
        std::thread::scope(|scope| {
            let hosts = HOSTS.map(|n| scope.spawn(move || self.use_host(n)));
            self.kill(length);
            hosts.into_iter().flat_map(|host| host.join().unwrap()).collect()
        })
    }

    fn kill(&self, length: Duration) {
        let (_end, dice) = (End(&self.over), self.dice.own(0));
        while self.begin.elapsed() < length && !self.is_over() {
            self.strike(&dice);
            pause(&dice, 2_000);
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Shown if the test fails.
    fn say(&self, what: &str) {
        println!("{:6.1} {what}", self.begin.elapsed().as_secs_f32());
    }

    /// Strikes a host, and puts it right again some time later.
    fn strike(&self, dice: &Dice) {
        let (n, lab) = (HOSTS[dice.below(HOSTS.len())], &self.cluster.lab);
        match dice.below(5) {
            0 => {
                self.say(&format!("whatever runs of clusterctl on h{n} is killed"));
                self.killing(n, || drop(lab.exec(n, &["pkill", "-KILL", "-x", "clusterctl"])));
            }
            1 => self.kill_service(dice, n, "docker.service"),
            2 => self.kill_service(dice, n, "glusterd.service"),
            3 => {
                self.say(&format!("h{n} is cut off"));
                lab.cut(n);
                pause(dice, 8_000);
                lab.heal(n);
            }
            _ => {
                self.say(&format!("h{n} loses its power"));
                self.killing(n, || {
                    lab.kill(n);
                    pause(dice, 4_000);
                    lab.start(n);
                });
            }
        }
    }

    fn kill_service(&self, dice: &Dice, n: u8, service: &str) {
        self.say(&format!("{service} of h{n} is killed"));
        self.cluster.lab.exec(n, &["systemctl", "kill", "--kill-who=main", "--signal=KILL", service]);
        pause(dice, 4_000);
        start(self.cluster, n, service);
    }

    fn killing(&self, n: u8, kill: impl FnOnce()) {
        let kills = &self.kills[usize::from(n) - 1];
        kills.fetch_add(1, Ordering::SeqCst);
        kill();
        kills.fetch_add(1, Ordering::SeqCst);
    }

    /// What is done on host `n` in the meantime. Returns the files that were acknowledged there.
    fn use_host(&self, n: u8) -> BTreeMap<String, String> {
        let (_end, dice) = (End(&self.over), self.dice.own(n.into()));
        let mut written = BTreeMap::new();
        for count in 1.. {
            match dice.below(5) {
                _ if self.is_over() => break,
                0 if n == HOSTS[3] => self.ends_well(n, "leave", || self.cluster.clusterctl(n, &["node", "leave"])),
                0 | 1 => self.ends_well(n, "join", || self.cluster.join(n, &SHORT)),
                _ => {
                    // A name that was refused is not taken again: whether there is a file of it is unknown.
                    let name = format!("canary-h{n}-{count}");
                    let wrote = self.cluster.lab.exec(n, &["bash", "-c", WRITE, MOUNT, &name]);
                    if let Some((sum, _)) = wrote.stdout_text().split_once(' ').filter(|_| wrote.success()) {
                        written.insert(name, sum.to_owned());
                    }
                }
            }
            pause(&dice, 1_000);
        }
        written
    }

    /// I9: a command that nobody killed ends as documented, whatever the hosts are like.
    fn ends_well(&self, n: u8, what: &str, command: impl FnOnce() -> Ended) {
        let kills = || self.kills[usize::from(n) - 1].load(Ordering::SeqCst);
        let before = kills();
        let ended = command();
        let was_killed = before % 2 == 1 || kills() != before;
        let last = ended.stderr.lines().last().unwrap_or_default();
        self.say(&format!("  {what} on h{n}: {:?} {last}", ended.code));
        if !was_killed {
            documented(ended.code.unwrap(), &ended.stderr);
        }
    }
}

/// Lets a random time pass: the moments of things are what this is about.
fn pause(dice: &Dice, most: u64) {
    std::thread::sleep(dice.millis(0..=most));
}

/// Starts a service, also one that systemd would not start so soon again.
fn start(cluster: &Cluster, n: u8, service: &str) {
    cluster.lab.exec(n, &["systemctl", "reset-failed", service]);
    cluster.lab.exec(n, &["systemctl", "start", "--no-block", service]);
}

/// What an operator does afterwards: every service is started, and every host joins until it is where it should be.
fn recover(cluster: &Cluster) {
    for n in HOSTS {
        for service in ["docker.service", "glusterd.service"] {
            start(cluster, n, service);
        }
    }
    for n in HOSTS {
        wait_for(&format!("h{n} has nothing to do any more"), PATIENCE * 2, || {
            let join = cluster.join(n, &SHORT);
            println!("h{n}: {join:?}");
            documented(join.code.unwrap(), &join.stderr);
            join.code == Some(0) && join.stdout.starts_with("nothing to do\n")
        });
    }
    cluster.expect_ready(&HOSTS);
    wait_for("every brick online", PATIENCE, || cluster.bricks_online() == 3);
    // What could not be healed when its brick came back is tried again by itself only every ten minutes.
    let heal = ["gluster", "--mode=script", "volume", "heal", "shared"];
    wait_for("the bricks heal each other", PATIENCE, || cluster.lab.exec(1, &heal).success());
    cluster.expect_healed();
}
