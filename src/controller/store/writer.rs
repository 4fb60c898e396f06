//! The one thread that writes: here it batches and applies; in between it keeps house, and after an error it recovers.
//!
//! One thread, because the database has one writer and because the order of the journal is the order of the state.

mod housekeeping;
mod loading;
mod recovery;
mod recreating;
mod upgrading;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::directory::{self, Lock};
use super::redb::{Disk, DiskError, Extent};
use super::reserve::Reserve;
use super::{CommitError, Committed, Machine, OpenError, Shared, Store, StoreOptions, Writing};
use crate::failpoint;
pub use recreating::{holds_state, recreate};

use loading::{LoadError, create, load, open_error, take_changes};

/// From how many commands at once on it pays to wait for more.
const MANY: usize = 8;

/// How long to wait for more at a time.
const GATHER: Duration = Duration::from_micros(150);

/// And in all: about what a transaction takes.
const GATHER_LIMIT: Duration = Duration::from_millis(2);

/// What other threads send to the writer.
pub(super) enum Submission<M: Machine> {
    Commit { command: M::Command, record: Vec<u8>, answer: Answer<M> },
    Close,
}

type Answer<M> = oneshot::Sender<Result<Committed<<M as Machine>::Effect>, CommitError>>;
type Waiting<M> = (<M as Machine>::Command, Vec<u8>, Answer<M>);

pub(super) struct Writer<M: Machine> {
    machine: Arc<RwLock<M>>,
    shared: Arc<Shared>,
    inbox: Receiver<Submission<M>>,
    changed: watch::Sender<u64>,
    options: StoreOptions,
    path: PathBuf,
    /// `None` after an error, until it is opened again.
    disk: Option<Disk>,
    extent: Extent,
    /// Rows that changed and are not folded; kept here when a fold fails.
    unfolded: BTreeMap<String, Option<Vec<u8>>>,
    unfolded_since: Option<Instant>,
    /// When to try to reopen, and how long to wait after that.
    reopen: (Instant, Duration),
    /// Something was written since the database was last opened: only then is trouble news.
    proved: bool,
    /// The file's size after the last compaction, which it may not get below.
    compacted_to: u64,
    reserve: Reserve,
    _lock: Lock,
    /// Dropped last: then the files are free.
    _ended: watch::Sender<()>,
}

impl<M: Machine> Writer<M> {
    /// Opens or makes the state in `dir`, loads it and starts the thread, if there is to be one.
    pub(super) fn open(dir: &Path, options: StoreOptions) -> Result<Store<M>, OpenError> {
        directory::prepare(dir)?;
        let lock = Lock::take(dir)?;
        let path = directory::database(dir);
        let io = |source| OpenError::Io { path: path.clone(), source };
        if !path.try_exists().map_err(io)? {
            create(dir, &path, &options)?;
        }
        let opened = |error: LoadError| open_error(dir, &path, error);
        let disk = Disk::open(&path, options.medium.as_ref(), options.cache).map_err(|error| opened(error.into()))?;
        let mut machine = M::default();
        let (extent, written_by) = load(&disk, &mut machine).map_err(opened)?;
        upgrading::keep_copy(dir, &path, written_by, M::VERSION)?;
        let unfolded = take_changes(&mut machine);
        let reserve = Reserve::keep(dir, options.reserve);

        let (submit, inbox) = sync_channel(options.queue);
        let (changed, changes) = watch::channel(extent.last);
        let (ended, ends) = watch::channel(());
        let machine = Arc::new(RwLock::new(machine));
        let shared = Arc::new(Shared::new(&options));
        let mut store = Store {
            machine: Arc::clone(&machine),
            shared: Arc::clone(&shared),
            inbox: submit,
            writer: None,
            changed: changes,
            ended: ends,
        };
        let writer = Self {
            machine,
            shared,
            inbox,
            changed,
            reopen: (Instant::now(), options.reopen.0),
            proved: true,
            options,
            path: path.clone(),
            compacted_to: 0,
            disk: Some(disk),
            extent,
            unfolded_since: (extent.last > extent.folded).then(Instant::now),
            unfolded,
            reserve,
            _lock: lock,
            _ended: ended,
        };
        writer.post();
        match writer.options.writing {
            Writing::Caller => store.writer = Some(Arc::new(Mutex::new(Some(writer)))),
            Writing::Thread => {
                let thread = std::thread::Builder::new().name("store".to_owned());
                thread.spawn(move || writer.run()).map_err(|source| OpenError::Io { path, source })?;
            }
        }
        Ok(store)
    }

    fn run(mut self) {
        while self.turn(self.idle_time()) {}
        self.finish();
    }

    /// Writes what waits, or what comes within `patience`, and keeps house; says whether there is more to come.
    pub(super) fn turn(&mut self, patience: Duration) -> bool {
        if let Some((_, pulse)) = &self.options.pulse {
            pulse();
        }
        let mut batch = Vec::new();
        let mut open = true;
        match self.inbox.recv_timeout(patience) {
            Ok(submission) => self.collect(submission, &mut batch, &mut open),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => open = false,
        }
        self.drain(&mut batch, &mut open);
        self.gather(&mut batch, &mut open);
        let more = batch.len() == self.options.batch;
        if !batch.is_empty() {
            self.commit(batch);
        }
        if (!open || self.shared.closing.load(Ordering::Acquire)) && !more {
            return false;
        }
        self.keep_house();
        true
    }

    /// Folds, and lets go of the files.
    pub(super) fn finish(mut self) {
        if self.disk.is_some() && self.extent.last > self.extent.folded {
            self.fold();
        }
        // Field by field: the database before the lock, the lock before the word that both are free.
        drop(self.disk.take());
    }

    /// Takes what waits.
    fn drain(&self, batch: &mut Vec<Waiting<M>>, open: &mut bool) {
        while batch.len() < self.options.batch {
            match self.inbox.try_recv() {
                Ok(submission) => self.collect(submission, batch, open),
                Err(_) => break,
            }
        }
    }

    /// Among many clients, lets more of them come, for as long as more do: a transaction costs processor and disk much the
    /// same for one command as for dozens. Few clients never wait.
    fn gather(&self, batch: &mut Vec<Waiting<M>>, open: &mut bool) {
        let begun = Instant::now();
        while *open && (MANY..self.options.batch).contains(&batch.len()) && begun.elapsed() < GATHER_LIMIT {
            let known = batch.len();
            std::thread::sleep(GATHER);
            self.drain(batch, open);
            if batch.len() == known {
                return;
            }
        }
    }

    fn collect(&self, submission: Submission<M>, batch: &mut Vec<Waiting<M>>, open: &mut bool) {
        match submission {
            Submission::Commit { command, record, answer } => {
                self.shared.queued.fetch_sub(1, Ordering::Relaxed);
                batch.push((command, record, answer));
            }
            Submission::Close => *open = false,
        }
    }

    /// How long nothing has to be done if nothing comes.
    fn idle_time(&self) -> Duration {
        let work = match (&self.disk, self.unfolded_since) {
            (None, _) => self.reopen.0.saturating_duration_since(Instant::now()),
            (Some(_), Some(since)) => self.options.fold_after.saturating_sub(since.elapsed()),
            (Some(_), None) => Duration::from_secs(3600),
        };
        self.options.pulse.as_ref().map_or(work, |(often, _)| work.min(*often))
    }

    fn commit(&mut self, batch: Vec<Waiting<M>>) {
        let first = self.extent.last + 1;
        let begun = Instant::now();
        let outcome = match &self.disk {
            Some(disk) => disk.append(first, batch.iter().map(|(_, record, _)| record.as_slice())),
            None => Err(DiskError::Failed(self.failure())),
        };
        if let Err(error) = outcome {
            let error = CommitError::Storage(error.to_string());
            // First the flag, then the answers: who asks again gets the answer at once.
            self.fail(&error.to_string());
            for (_, _, answer) in batch {
                // Nobody may wait for it any more.
                answer.send(Err(error.clone())).ok();
            }
            return;
        }
        let (took, commands) = (begun.elapsed(), batch.len() as u64);
        self.prove();
        let mut answers = Vec::with_capacity(batch.len());
        {
            let mut machine = self.machine.write().unwrap_or_else(PoisonError::into_inner);
            for (sequence, (command, _, answer)) in (first..).zip(batch) {
                let effect = machine.apply(sequence, &command);
                self.extent.last = sequence;
                answers.push((answer, Committed { sequence, effect }));
            }
        }
        self.unfolded_since.get_or_insert_with(Instant::now);
        {
            let mut board = self.shared.board();
            board.sequence = self.extent.last;
            board.commands += commands;
            board.batches += 1;
            board.meter.note(Instant::now(), took, commands);
        }
        // Before the answers: who has one finds its sequence here.
        self.changed.send_replace(self.extent.last);
        if failpoint::pass_blocking("before-reply").is_err() {
            // Whoever waits learns nothing, as if the process had ended here.
            return;
        }
        for (answer, committed) in answers {
            answer.send(Ok(committed)).ok();
        }
    }

    fn post(&self) {
        let mut board = self.shared.board();
        board.sequence = self.extent.last;
        board.folded = self.extent.folded;
        board.rows = self.extent.rows;
        board.row_bytes = self.extent.row_bytes;
        board.reserve_held = self.reserve.is_held();
        board.file_bytes = self.disk.as_ref().map_or(board.file_bytes, Disk::file_bytes);
    }
}
