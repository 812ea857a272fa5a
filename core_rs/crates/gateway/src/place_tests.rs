//! Places under many threads: never more than there are, and each comes back.
use super::*;

const PLACES: usize = 3;

fn taken(metrics: &Metrics) -> i64 {
    metrics.connections.load(Relaxed)
}

#[test]
fn a_place_comes_back_when_it_is_dropped() {
    let metrics = Arc::new(Metrics::default());
    let held: Vec<_> = (0..PLACES).map(|_| Place::take(&metrics, PLACES)).collect();
    assert!(held.iter().all(Option::is_some));
    assert!(Place::take(&metrics, PLACES).is_none());
    assert_eq!(taken(&metrics), 3, "a refusal takes none");
    drop(held);
    assert_eq!(taken(&metrics), 0);
    assert!(Place::take(&metrics, PLACES).is_some());
}

#[test]
fn threads_never_share_the_last_place() {
    let metrics = Arc::new(Metrics::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let place = Place::take(&metrics, PLACES);
                    assert!(taken(&metrics) <= 3);
                    drop(place);
                }
            });
        }
    });
    assert_eq!(taken(&metrics), 0);
}
