//! C3, C4: power loss. A disk that remembers what a sync has made durable and what was written since; when the power
//! fails, of the latter some is there, some is not, some is torn.
//!
//! A run is recorded as a list of events and played back: the power fails at every sync of it, in many ways each, and
//! then again at every sync of the start that follows. The seed of a failure is printed; `CLUSTERCTL_TEST_SEED` repeats
//! it, and `CLUSTERCTL_TEST_IMAGES` asks for more ways at each sync.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use clusterctl::controller::store::{FileMedium, Medium, OpenMedium, Store, StoreOptions};

use super::disks::quick;
use super::ledger::{Change, Ledger};
use super::unfolded;

/// What the smallest unit is that a disk writes whole.
const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Event {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
    /// So many commands were acknowledged by now.
    Acknowledged(u64),
}

type Events = Arc<Mutex<Vec<Event>>>;

#[derive(Debug)]
struct Recorded {
    file: FileMedium,
    events: Events,
}

impl Medium for Recorded {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.events.lock().unwrap().push(Event::Write(offset, data.to_vec()));
        self.file.write(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.events.lock().unwrap().push(Event::SetLen(len));
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.events.lock().unwrap().push(Event::Sync);
        Ok(())
    }
}

fn recorder(events: &Events) -> OpenMedium {
    let events = Arc::clone(events);
    Arc::new(move |path: &Path| {
        Ok(Box::new(Recorded { file: FileMedium::open(path)?, events: Arc::clone(&events) }) as Box<dyn Medium>)
    })
}

/// A small generator, so that a failure names the seed that repeats it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }
}

fn take(image: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (from, to) = (offset as usize, offset as usize + data.len());
    image.resize(image.len().max(to), 0);
    image[from..to].copy_from_slice(data);
}

/// What may be on the disk when the power fails, `pending` being what was done since the last sync: of each write all,
/// nothing, or some of its sectors; and the file may have the length that it had.
fn after_power_loss(durable: &[u8], pending: &[Event], dice: &mut Dice) -> Vec<u8> {
    let mut image = durable.to_vec();
    for event in pending {
        match (event, dice.roll(4)) {
            (_, 0) => {}
            (Event::Write(offset, data), 1) => {
                for (n, sector) in data.chunks(SECTOR).enumerate() {
                    if dice.roll(2) == 0 {
                        take(&mut image, offset + (n * SECTOR) as u64, sector);
                    }
                }
            }
            (Event::Write(offset, data), 2) => {
                let whole = SECTOR * dice.roll(data.len() / SECTOR + 1);
                take(&mut image, *offset, &data[..whole.min(data.len())]);
            }
            (Event::Write(offset, data), _) => take(&mut image, *offset, data),
            (Event::SetLen(len), _) => image.resize(*len as usize, 0),
            (Event::Sync | Event::Acknowledged(_), _) => {}
        }
    }
    if image.len() > durable.len() && dice.roll(8) == 0 {
        image.truncate(durable.len());
    }
    image
}

/// A moment at which the power may fail.
struct Moment<'a> {
    durable: &'a [u8],
    pending: &'a [Event],
    acknowledged: u64,
}

/// Plays events back onto the disk that they began with, and calls at each sync, before it has taken effect, and at the
/// end. Says how many moments there were.
fn play(mut disk: Vec<u8>, events: &[Event], mut acknowledged: u64, mut at: impl FnMut(usize, &Moment<'_>)) -> usize {
    let (mut pending, mut moments) = (0, 0);
    for (n, event) in events.iter().chain([&Event::Sync]).enumerate() {
        match event {
            Event::Acknowledged(count) => acknowledged = *count,
            Event::Sync => {
                let waiting = &events[pending..n];
                at(moments, &Moment { durable: &disk, pending: waiting, acknowledged });
                moments += 1;
                for event in waiting {
                    match event {
                        Event::Write(offset, data) => take(&mut disk, *offset, data),
                        Event::SetLen(len) => disk.resize(*len as usize, 0),
                        Event::Sync | Event::Acknowledged(_) => {}
                    }
                }
                pending = n + 1;
            }
            Event::Write(..) | Event::SetLen(_) => {}
        }
    }
    moments
}

/// Where images are tried.
struct Trial {
    runtime: tokio::runtime::Runtime,
    scratch: tempfile::TempDir,
}

impl Trial {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, scratch: tempfile::tempdir().unwrap() }
    }

    /// Starts on the image and says how far it got.
    fn open(&self, image: &[u8], medium: OpenMedium, seed: &str) -> Store<Ledger> {
        std::fs::write(self.scratch.path().join("state.redb"), image).unwrap();
        let options = StoreOptions { medium: Some(medium), ..unfolded() };
        let opened = self.runtime.block_on(Store::<Ledger>::open(self.scratch.path(), options));
        opened.unwrap_or_else(|error| panic!("{seed}: it does not open: {error}"))
    }

    /// I1 to I3: starts on the image as anybody would; everything acknowledged is there, of the rest at most the one
    /// command that was under way, nothing else, and it goes on from there.
    fn check(&self, image: &[u8], acknowledged: u64, seed: &str) {
        let store = self.open(image, quick(), seed);
        let count = store.read(|ledger| whole(ledger, seed));
        assert!((acknowledged..=acknowledged + 1).contains(&count), "{seed}: {count} of {acknowledged}");
        self.runtime.block_on(async {
            let committed = store.commit(Change::set(&key(count), count)).await;
            assert_eq!(committed.unwrap_or_else(|error| panic!("{seed}: {error}")).effect, None, "{seed}");
            store.close().await;
        });
        let store = self.open(&std::fs::read(self.scratch.path().join("state.redb")).unwrap(), quick(), seed);
        assert_eq!(store.read(|ledger| whole(ledger, seed)), count + 1, "{seed}");
        assert_eq!(store.status().rows, count + 1, "{seed}: I3");
        self.runtime.block_on(store.close());
    }
}

fn key(n: u64) -> String {
    // Long enough that a few of them fill a page.
    format!("k{n:04}{}", "x".repeat(200))
}

/// How many commands the state is made of, without a gap and with nothing else.
fn whole(ledger: &Ledger, seed: &str) -> u64 {
    let count = ledger.values.len() as u64;
    for n in 0..count {
        assert_eq!(ledger.values.get(&key(n)), Some(&n), "{seed}: I2");
    }
    count
}

#[expect(clippy::disallowed_methods, reason = "for long runs of the tests, and to repeat one")]
fn told(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// I1 to I3: at every sync of a run with folds the power fails in several ways; for each of the first of them it fails
/// again at every sync of the start on what was left.
#[test]
fn acknowledged_commits_survive_power_loss() {
    let scratch = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let events = Events::default();
    let before = runtime.block_on(async {
        Store::<Ledger>::open(scratch.path(), unfolded()).await.unwrap().close().await;
        let before = std::fs::read(scratch.path().join("state.redb")).unwrap();
        let options = StoreOptions { fold_records: 7, medium: Some(recorder(&events)), ..unfolded() };
        let store = Store::<Ledger>::open(scratch.path(), options).await.unwrap();
        for n in 0..30 {
            store.commit(Change::set(&key(n), n)).await.unwrap();
            events.lock().unwrap().push(Event::Acknowledged(n + 1));
        }
        store.close().await;
        before
    });
    let events = std::mem::take(&mut *events.lock().unwrap());
    let seed = told("CLUSTERCTL_TEST_SEED").unwrap_or(u64::from(std::process::id()));
    let ways = told("CLUSTERCTL_TEST_IMAGES").unwrap_or(5) as usize;
    let trial = Trial::new();
    let (mut images, mut recoveries) = (0, 0);
    let moments = play(before, &events, 0, |at, moment| {
        for way in 0..ways {
            let name = format!("CLUSTERCTL_TEST_SEED={seed} CLUSTERCTL_TEST_IMAGES={ways}: sync {at}, way {way}");
            let mut dice = Dice((seed << 20 | (at * ways + way) as u64) | 1);
            let image = after_power_loss(moment.durable, moment.pending, &mut dice);
            images += 1;
            if way > 0 {
                trial.check(&image, moment.acknowledged, &name);
                continue;
            }
            let events = Events::default();
            let store = trial.open(&image, recorder(&events), &name);
            let count = store.read(|ledger| whole(ledger, &name));
            trial.runtime.block_on(store.close());
            let events = std::mem::take(&mut *events.lock().unwrap());
            // It was found, so that from then on it counts as acknowledged.
            recoveries += play(image, &events, count, |again, moment| {
                for way in 0..2 {
                    let name = format!("{name}, then sync {again}, way {way}");
                    let image = after_power_loss(moment.durable, moment.pending, &mut dice);
                    trial.check(&image, moment.acknowledged, &name);
                    images += 1;
                }
            });
        }
    });
    assert!(moments > 60 && recoveries > moments, "{moments} moments, {recoveries} of recoveries");
    eprintln!("{images} images of {moments} moments and {recoveries} of recoveries, seed {seed}");
}
