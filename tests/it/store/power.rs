//! C3, C4: power loss. A disk that remembers which writes a sync has made durable; at a sync the power fails, and of
//! the writes since the last one some are there, some are not, some are torn.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use clusterctl::controller::store::{FileMedium, Medium, OpenMedium, Store, StoreOptions};

use super::disks::quick;
use super::ledger::{Change, Ledger};
use super::unfolded;

#[derive(Debug, Clone)]
enum Step {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Debug, Default)]
struct Recording {
    durable: Vec<u8>,
    pending: Vec<Step>,
    /// The disk as it was before each sync: what was durable, and what was not.
    moments: Vec<(Vec<u8>, Vec<Step>)>,
    /// How many commands were acknowledged when each moment came.
    acknowledged: Vec<u64>,
    acknowledgements: u64,
}

fn take(image: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write(offset, data) => {
            let (from, to) = (*offset as usize, *offset as usize + data.len());
            image.resize(image.len().max(to), 0);
            image[from..to].copy_from_slice(data);
        }
        Step::SetLen(len) => image.resize(*len as usize, 0),
    }
}

#[derive(Debug)]
struct Recorded {
    file: FileMedium,
    recording: Arc<Mutex<Recording>>,
}

impl Medium for Recorded {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.recording.lock().unwrap().pending.push(Step::Write(offset, data.to_vec()));
        self.file.write(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.recording.lock().unwrap().pending.push(Step::SetLen(len));
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        let recording = &mut *self.recording.lock().unwrap();
        recording.moments.push((recording.durable.clone(), recording.pending.clone()));
        recording.acknowledged.push(recording.acknowledgements);
        for step in recording.pending.drain(..) {
            take(&mut recording.durable, &step);
        }
        Ok(())
    }
}

/// Records what happens to the database at `path` from now on.
fn recorder(path: &Path) -> (OpenMedium, Arc<Mutex<Recording>>) {
    let durable = std::fs::read(path).unwrap();
    let recording = Arc::new(Mutex::new(Recording { durable, ..Recording::default() }));
    let shared = Arc::clone(&recording);
    let open: OpenMedium = Arc::new(move |path: &Path| {
        Ok(Box::new(Recorded { file: FileMedium::open(path)?, recording: Arc::clone(&shared) }) as Box<dyn Medium>)
    });
    (open, recording)
}

/// A small generator, so that a failure names the seed that repeats it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What may be on the disk when the power fails at this moment.
fn after_power_loss(durable: &[u8], pending: &[Step], dice: &mut Dice) -> Vec<u8> {
    let mut image = durable.to_vec();
    for step in pending {
        match (step, dice.roll(3)) {
            (_, 0) => {}
            (Step::Write(offset, data), 1) if data.len() > 512 => {
                let sectors = data.len() as u64 / 512;
                let whole = 512 * dice.roll(sectors) as usize;
                take(&mut image, &Step::Write(*offset, data[..whole].to_vec()));
            }
            (step, _) => take(&mut image, step),
        }
    }
    image
}

/// Opens the image as a new start would, and checks that everything acknowledged is there and nothing else is wrong.
async fn check(dir: &Path, image: &[u8], acknowledged: u64, seed: &str) {
    let options = StoreOptions { medium: Some(quick()), ..unfolded() };
    std::fs::write(dir.join("state.redb"), image).unwrap();
    let store = Store::<Ledger>::open(dir, options).await.unwrap_or_else(|error| panic!("{seed}: {error}"));
    store.read(|ledger| {
        let count = ledger.values.len() as u64;
        assert!(count >= acknowledged, "{seed}: {count} of {acknowledged}");
        for n in 0..count {
            assert_eq!(ledger.values.get(&format!("k{n:04}")), Some(&n), "{seed}");
        }
    });
    store.commit(Change::set("again", 1)).await.unwrap_or_else(|error| panic!("{seed}: {error}"));
    store.close().await;
}

/// I1, I3: at every sync of a run with folds, the power fails in several ways; then it fails again while the store
/// starts on what was left.
#[tokio::test]
async fn acknowledged_commits_survive_power_loss() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, copy) = (scratch.path().join("state"), scratch.path().join("copy"));
    Store::<Ledger>::open(&dir, unfolded()).await.unwrap().close().await;
    let (medium, recording) = recorder(&dir.join("state.redb"));
    let options = StoreOptions { fold_records: 7, medium: Some(medium), ..unfolded() };
    let store = Store::<Ledger>::open(&dir, options).await.unwrap();
    for n in 0..30 {
        store.commit(Change::set(&format!("k{n:04}"), n)).await.unwrap();
        recording.lock().unwrap().acknowledgements = n + 1;
    }
    store.close().await;

    let recording = std::mem::take(&mut *recording.lock().unwrap());
    assert!(recording.moments.len() > 60, "{}", recording.moments.len());
    std::fs::create_dir_all(&copy).unwrap();
    for (at, ((durable, pending), acknowledged)) in recording.moments.iter().zip(recording.acknowledged).enumerate() {
        for draw in 1..=4 {
            let seed = format!("moment {at}, draw {draw}");
            let mut dice = Dice((at as u64 + 1) * 7919 + draw);
            let image = after_power_loss(durable, pending, &mut dice);
            if draw > 1 {
                check(&copy, &image, acknowledged, &seed).await;
                continue;
            }
            // The second power failure, at each sync of the start that follows the first.
            std::fs::write(copy.join("state.redb"), &image).unwrap();
            let (medium, second) = recorder(&copy.join("state.redb"));
            let options = StoreOptions { medium: Some(medium), ..unfolded() };
            Store::<Ledger>::open(&copy, options).await.unwrap().close().await;
            let second = std::mem::take(&mut *second.lock().unwrap());
            for (again, (durable, pending)) in second.moments.iter().enumerate() {
                let image = after_power_loss(durable, pending, &mut dice);
                check(&copy, &image, acknowledged, &format!("{seed}, then {again}")).await;
            }
        }
    }
}
