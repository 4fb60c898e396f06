//! T8: the decoder on what it has seen before and on random changes of it; the fuzz target does the same for longer.

use std::path::Path;

use clusterctl::protocol::exchange::{Bad, Framer, MAX_REQUEST, Progress};
use clusterctl::protocol::registration::RawRequest;
use proptest::prelude::*;

/// The samples of the fuzz target.
fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut samples: Vec<_> = ["fuzz/corpus/decode", "tests/fixtures/wire"]
        .iter()
        .flat_map(|dir| std::fs::read_dir(root.join(dir)).unwrap())
        .map(|entry| entry.unwrap().path())
        // The words of each protocol lie in folders of their own.
        .filter(|path| path.is_file())
        .collect();
    samples.sort();
    assert!(samples.len() > 10, "{samples:?}");
    samples.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// What happens to every request: found, decoded, checked. What the decoder takes as an object, the framer must find.
fn decode(bytes: &[u8]) {
    let found = Framer::new(MAX_REQUEST).push(bytes);
    if let Progress::Complete { start, end } = found {
        assert_eq!((bytes[start], bytes[end - 1]), (b'{', b'}'));
        if let Ok(request) = serde_json::from_slice::<RawRequest>(&bytes[start..end]) {
            // Refused or not, it must come to an end.
            drop(request.check());
        }
    } else if bytes.len() <= MAX_REQUEST && found != Progress::Bad(Bad::TooDeep) {
        // Depth apart: the decoder skips what it does not know without counting its levels.
        assert!(serde_json::from_slice::<RawRequest>(bytes).is_err(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn survives_its_corpus() {
    for sample in corpus() {
        decode(&sample);
        for end in 0..sample.len().min(2048) {
            decode(&sample[..end]);
        }
    }
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Cut(prop::sample::Index, prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, with)| Mutation::Flip(at, with)),
        (index(), prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'{'), Just(b'[')], 1..8))
            .prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (index(), index()).prop_map(|(from, to)| Mutation::Cut(from, to)),
        (index(), index()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: Mutation) {
    if bytes.is_empty() {
        return;
    }
    let span = |a: prop::sample::Index, b: prop::sample::Index| {
        let (a, b) = (a.index(bytes.len()), b.index(bytes.len()));
        a.min(b)..a.max(b)
    };
    match mutation {
        Mutation::Flip(at, with) => {
            let at = at.index(bytes.len());
            bytes[at] ^= with;
        }
        Mutation::Insert(at, new) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, new);
        }
        Mutation::Cut(from, to) => drop(bytes.drain(span(from, to))),
        Mutation::Repeat(from, to) => {
            let range = span(from, to);
            bytes.extend_from_within(range);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn survives_mutations(
        sample in prop::sample::select(corpus()),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let mut bytes = sample;
        for change in mutations {
            mutate(&mut bytes, change);
        }
        decode(&bytes);
    }
}
