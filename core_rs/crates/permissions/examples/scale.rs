//! An organization out of a folder, taken in as a process takes it in, and then asked and changed: time and memory, as one line of JSON.
//!
//! `<kind>.bson` are concatenated stored documents, `pairs` has a person, a door and the right answer (0 or 1) in each line; `set_up`, `changes`
//! and `reaching` have a name and the JSON of one record's images, the last two for while somebody asks. `benchmarks/scale.py` writes the folder and judges the figures; here they are only taken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a program for developers: what is wrong ends it, and its figures are no counts"
)]
use nexkey_permissions::PermissionIndex;
use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const ORGANIZATION: &str = "acme";
/// In this order, so that memory is told apart by kind.
const KINDS: [&str; 8] = [
    "organization",
    "site",
    "area",
    "schedule",
    "group",
    "person",
    "door",
    "grant",
];
const BATCH_BYTES: usize = 4 << 20;
const ROUNDS: usize = 5;

type Pair = (String, String, bool);
type Figures = BTreeMap<String, f64>;

fn put(figures: &mut Figures, name: &str, value: f64) {
    figures.insert(name.to_owned(), value);
}

fn resident_bytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kibibytes.unwrap_or(0.0) * 1_024.0
}

/// Whole documents, at most `BATCH_BYTES` together.
fn batches(mut documents: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !documents.is_empty() {
        let mut end = 0;
        while end < documents.len() && end < BATCH_BYTES {
            let length: [u8; 4] = documents[end..end + 4].try_into().unwrap();
            end += usize::try_from(i32::from_le_bytes(length)).unwrap();
        }
        let (batch, rest) = documents.split_at(end);
        found.push(batch);
        documents = rest;
    }
    found
}

/// Seconds in the core for all of it, and how many bytes more were resident after each kind.
fn load(index: &PermissionIndex, folder: &Path) -> (f64, BTreeMap<String, f64>) {
    let mut load = index.begin_load(ORGANIZATION, 0).unwrap();
    let (mut seconds, mut grown) = (0.0, BTreeMap::new());
    for kind in KINDS {
        let documents = fs::read(folder.join(format!("{kind}.bson"))).unwrap();
        let before = resident_bytes();
        for batch in batches(&documents) {
            let began = Instant::now();
            load.add(kind, batch).unwrap();
            seconds += began.elapsed().as_secs_f64();
        }
        grown.insert(kind.to_owned(), resident_bytes() - before);
    }
    let (before, began) = (resident_bytes(), Instant::now());
    index.finish_load(load).unwrap();
    seconds += began.elapsed().as_secs_f64();
    grown.insert("settled".to_owned(), resident_bytes() - before);
    (seconds, grown)
}

fn read_pairs(folder: &Path) -> Vec<Pair> {
    let text = fs::read_to_string(folder.join("pairs")).unwrap();
    let pair = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[0].to_owned(), words[1].to_owned(), words[2] == "1")
    };
    text.lines().map(pair).collect()
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// Nanoseconds of `ask` for each one alone, the clock's own cost in them. What is asked of is read before: a request that was just
/// decoded is near, only the index is far.
fn each_ns<T>(all: &[T], near: impl Fn(&T) -> usize, mut ask: impl FnMut(&T)) -> Vec<f64> {
    let mut told: Vec<f64> = all
        .iter()
        .map(|pair| {
            black_box(near(pair));
            let began = Instant::now();
            ask(pair);
            began.elapsed().as_nanos() as f64
        })
        .collect();
    told.sort_by(f64::total_cmp);
    told
}

/// Reads every byte of both identifiers.
fn bytes_of((person, door, _): &Pair) -> usize {
    person.bytes().chain(door.bytes()).map(usize::from).sum()
}

fn check(index: &PermissionIndex, (person, door, allowed): &Pair, now_ms: i64) {
    let decision = index.check(ORGANIZATION, black_box(person), black_box(door), now_ms);
    assert_eq!(decision.is_allowed(), *allowed, "{person} {door}");
}

/// Microseconds of each change, by its name, as one record each.
fn apply(index: &PermissionIndex, changes: &str, figures: &mut Figures) {
    let mut taken: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for line in changes.lines() {
        let (name, images) = line.split_once(' ').unwrap();
        let revision = index.revision(ORGANIZATION) + 1;
        let began = Instant::now();
        index
            .apply(ORGANIZATION, revision, images.as_bytes())
            .unwrap();
        taken
            .entry(name)
            .or_default()
            .push(began.elapsed().as_nanos() as f64 / 1_000.0);
    }
    for (name, mut told) in taken {
        told.sort_by(f64::total_cmp);
        for (quantile_name, share) in [("median", 0.5), ("p99", 0.99), ("max", 1.0)] {
            put(
                figures,
                &format!("change_{name}_us_{quantile_name}"),
                quantile(&told, share),
            );
        }
    }
}

/// Median and 99th percentile of the round whose median is in the middle, and of the first one, which found the least in the caches.
fn ask(figures: &mut Figures, name: &str, mut round: impl FnMut() -> Vec<f64>) {
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            let told = round();
            (quantile(&told, 0.5), quantile(&told, 0.99))
        })
        .collect();
    let first = rounds[0];
    rounds.sort_by(|one, other| one.0.total_cmp(&other.0));
    for (which, (median, p99)) in [("", rounds[ROUNDS / 2]), ("first_", first)] {
        put(figures, &format!("{name}_ns_{which}median"), median);
        put(figures, &format!("{name}_ns_{which}p99"), p99);
    }
}

const FAR_BYTES: usize = 256 << 20;
const FAR_STEPS: u32 = 500_000;

/// Nanoseconds of one read of memory that is in no cache: every line says where the next one is (one cycle through all of them, Sattolo 1986).
fn far_ns() -> f64 {
    let count = FAR_BYTES / 64;
    let mut lines: Vec<[u32; 16]> = (0..count).map(|line| [line as u32; 16]).collect();
    let mut chance = 0x9E37_79B9_7F4A_7C15_u64;
    for last in (1..count).rev() {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        lines.swap(last, (chance % last as u64) as usize);
    }
    let (mut at, began) = (0, Instant::now());
    for _ in 0..FAR_STEPS {
        at = lines[at][0] as usize;
    }
    black_box(at);
    began.elapsed().as_nanos() as f64 / f64::from(FAR_STEPS)
}

/// By identifiers, and by what was looked up before.
fn ask_all(index: &PermissionIndex, pairs: &[Pair], now_ms: i64, figures: &mut Figures) {
    ask(figures, "check", || {
        each_ns(pairs, bytes_of, |pair| check(index, pair, now_ms))
    });
    let named: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(person, door, _)| (&**person, &**door))
        .collect();
    index.with_found(ORGANIZATION, &named, |found| {
        let asked: Vec<_> = found.iter().map(|pair| pair.unwrap()).zip(pairs).collect();
        ask(figures, "found", || {
            each_ns(
                &asked,
                |_| 0,
                |(found, (_, _, allowed))| {
                    assert_eq!(found.decide(now_ms).is_allowed(), *allowed);
                },
            )
        });
    });
    let clock = each_ns(pairs, bytes_of, |pair| _ = black_box(pair));
    put(figures, "far_ns", far_ns());
    put(figures, "clock_ns_median", quantile(&clock, 0.5));
}

/// The changes of a file, and questions on another thread meanwhile.
fn change(index: &PermissionIndex, changes: &Path, pairs: &[Pair], now_ms: i64) -> Figures {
    let text = fs::read_to_string(changes).unwrap();
    let (finished, mut figures) = (AtomicBool::new(false), Figures::new());
    let beside = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut told = Vec::new();
            for pairs in pairs.chunks(1_000).cycle() {
                told.extend(each_ns(pairs, bytes_of, |(person, door, _)| {
                    black_box(index.check(ORGANIZATION, person, door, now_ms));
                }));
                if finished.load(Ordering::Relaxed) {
                    break;
                }
            }
            told.sort_by(f64::total_cmp);
            told
        });
        apply(index, &text, &mut figures);
        finished.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    let name = changes.file_name().unwrap().to_string_lossy();
    put(&mut figures, &format!("{name}_checks"), beside.len() as f64);
    for (quantile_name, share) in [("median", 0.5), ("p99", 0.99)] {
        put(
            &mut figures,
            &format!("{name}_check_ns_{quantile_name}"),
            quantile(&beside, share),
        );
    }
    figures
}

fn main() {
    let folder = std::env::args().nth(1).expect("the folder");
    let now_ms: i64 = std::env::args()
        .nth(2)
        .expect("the moment")
        .parse()
        .unwrap();
    let folder = Path::new(&folder);
    let pairs = read_pairs(folder);
    let (index, mut figures) = (PermissionIndex::new(), Figures::new());
    let before = resident_bytes();
    let (seconds, grown) = load(&index, folder);
    put(&mut figures, "load_seconds", seconds);
    put(&mut figures, "index_bytes", resident_bytes() - before);
    for (kind, bytes) in grown {
        put(&mut figures, &format!("bytes_{kind}"), bytes);
    }
    ask_all(&index, &pairs, now_ms, &mut figures);
    let set_up = fs::read_to_string(folder.join("set_up")).unwrap();
    apply(&index, &set_up, &mut figures);
    for changes in ["changes", "reaching"] {
        figures.extend(change(&index, &folder.join(changes), &pairs, now_ms));
    }
    println!("{}", serde_json::to_string(&figures).unwrap());
}
