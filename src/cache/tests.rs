//! The promises of the cache: budget, one load per key, a scan leaves the hot set, failures end, pins hold.

use super::*;

type Numbers = Cache<u32, u32>;

fn load(cache: &Arc<Numbers>, key: u32, weight: u64) -> Result<Lease<u32>> {
    match cache.join(&key)? {
        Join::Hit(lease) => Ok(lease),
        Join::Load(ticket) => ticket.load(weight, || Ok(key)),
        Join::Wait(_) => panic!("nobody else loads"),
    }
}

#[test]
fn the_budget_is_never_exceeded_even_by_values_in_use() {
    let cache = Numbers::new(100, drop);
    let held: Vec<_> = (0..10).map(|key| load(&cache, key, 10).unwrap()).collect();
    assert_eq!(cache.used(), 100);
    assert_eq!(load(&cache, 99, 10).unwrap_err().kind(), Kind::Unavailable);
    drop(held);
    for key in 100..500 {
        load(&cache, key, 7).unwrap();
        assert!(cache.used() <= 100, "{}", cache.used());
    }
    assert_eq!(load(&cache, 1000, 101).unwrap_err().kind(), Kind::TooLarge);
}

#[test]
fn a_scan_leaves_the_hot_set() {
    let cache = Numbers::new(1000, drop);
    for _ in 0..4 {
        for key in 0..50 {
            load(&cache, key, 10).unwrap();
        }
    }
    for key in 1000..6000 {
        load(&cache, key, 10).unwrap();
        if key % 10 == 0 {
            for hot in 0..50 {
                let _ = cache.get(&hot, Instant::now());
            }
        }
    }
    let kept = (0..50).filter(|key| cache.contains(key)).count();
    assert!(kept >= 48, "only {kept} of 50 hot entries were kept");
}

#[test]
fn a_thousand_cold_calls_are_one_load() {
    let cache = Numbers::new(1000, drop);
    let loads = AtomicU64::new(0);
    let gate = std::sync::Barrier::new(64);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                gate.wait();
                for _ in 0..16 {
                    let value = match cache.join(&7).unwrap() {
                        Join::Hit(lease) => lease,
                        Join::Load(ticket) => ticket
                            .load(10, || {
                                loads.fetch_add(1, Ordering::SeqCst);
                                std::thread::sleep(Duration::from_millis(30));
                                Ok(7)
                            })
                            .unwrap(),
                        Join::Wait(mut waiting) => loop {
                            let mut context = Context::from_waker(Waker::noop());
                            if let Poll::Ready(result) = Pin::new(&mut waiting).poll(&mut context) {
                                break result.unwrap();
                            }
                            std::thread::yield_now();
                        },
                    };
                    assert_eq!(*value, 7);
                }
            });
        }
    });
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[test]
fn failures_are_remembered_briefly_and_given_up_loads_end() {
    let cache = Numbers::new(100, drop);
    let fail = |cache: &Arc<Numbers>| match cache.join(&1) {
        Ok(Join::Load(ticket)) => ticket.load(1, || Err(Error::invalid("broken"))).unwrap_err(),
        Err(error) => error,
        _ => panic!(),
    };
    assert_eq!(fail(&cache).message(), "broken");
    assert!(cache.join(&1).is_err(), "a failure is remembered");
    assert_eq!(cache.used(), 0);
    std::thread::sleep(FAILURE_MEMORY);
    assert!(matches!(cache.join(&1), Ok(Join::Load(_))), "but not for long");
    assert!(matches!(cache.join(&2), Ok(Join::Load(_))));
    assert!(matches!(cache.join(&2), Ok(Join::Load(_))), "a dropped ticket blocks nobody");
}

#[test]
fn pinned_entries_stay() {
    let cache = Numbers::new(100, drop);
    load(&cache, 1, 40).unwrap();
    cache.set_pins(HashSet::from([1, 2]));
    load(&cache, 2, 40).unwrap();
    for key in 10..40 {
        load(&cache, key, 10).unwrap();
    }
    assert!(cache.contains(&1) && cache.contains(&2));
    let pinned: Vec<bool> = cache.inspect().iter().map(|entry| entry.pinned).collect();
    assert_eq!(pinned.iter().filter(|pinned| **pinned).count(), 2);
    assert!(!cache.evictions().is_empty());
}

#[test]
fn whatever_is_neither_pinned_nor_in_use_gives_room() {
    let cache = Numbers::new(100, drop);
    cache.set_pins(HashSet::from([1, 2]));
    load(&cache, 1, 47).unwrap();
    load(&cache, 2, 47).unwrap();
    // The small queue alone holds what can go, and less than its share.
    for key in 10..40 {
        load(&cache, key, 3).unwrap();
    }
    assert!(cache.contains(&1) && cache.contains(&2));
    let held = load(&cache, 40, 3).unwrap();
    load(&cache, 41, 3).unwrap();
    assert!(cache.contains(&40));
    drop(held);
    assert_eq!(load(&cache, 42, 50).unwrap_err().kind(), Kind::Unavailable);
}

#[test]
fn what_was_used_before_goes_after_what_was_used_less() {
    let cache = Numbers::new(90, drop);
    for (key, times) in [(1, 3), (2, 3), (3, 2), (4, 2), (5, 1), (6, 1)] {
        let Join::Load(ticket) = cache.join(&key).unwrap() else { panic!("{key} is there") };
        ticket.load_used(times, 10, || Ok(key)).unwrap();
    }
    // What is new and not used again takes the place of the coldest at most.
    for key in 10..100 {
        load(&cache, key, 10).unwrap();
    }
    for key in 1..5 {
        assert!(cache.contains(&key), "{key} went before what is colder");
    }
}

#[test]
fn evicted_values_are_let_go_outside_of_all_locks_and_timed() {
    type Owner = Mutex<Option<Arc<Cache<u32, Slow>>>>;
    struct Slow(Arc<Owner>);
    impl Drop for Slow {
        fn drop(&mut self) {
            // Would never return with a lock held.
            if let Some(cache) = lock(&self.0).clone() {
                assert!(cache.len() <= 1);
                let _ = cache.counts();
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    let times = Arc::new(Mutex::new(Vec::new()));
    let told = times.clone();
    let cache = Cache::new(10, move |time| lock(&told).push(time));
    let seen = Arc::new(Mutex::new(Some(cache.clone())));
    for key in 0..3 {
        let Ok(Join::Load(ticket)) = cache.join(&key) else { panic!() };
        ticket.load(10, || Ok(Slow(seen.clone()))).unwrap();
    }
    lock(&seen).take();
    let times = lock(&times);
    assert_eq!(times.len(), 2);
    assert!(times.iter().all(|time| *time >= Duration::from_millis(20)), "{times:?}");
}
