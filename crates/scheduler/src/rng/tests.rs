//! The generator: the same seed, the same numbers.

use super::*;

#[test]
fn the_seed_determines_the_numbers() {
    let mut a = Rng::new(7);
    let mut b = Rng::new(7);
    assert_eq!((a.next(), a.next()), (b.next(), b.next()));
    assert_ne!(Rng::new(8).next(), Rng::new(7).next());
}

#[test]
fn between_keeps_within_both_ends() {
    let mut rng = Rng::new(1);
    let drawn: Vec<u64> = (0..1_000).map(|_| rng.between(3, 6)).collect();
    assert_eq!(drawn.iter().min(), Some(&3));
    assert_eq!(drawn.iter().max(), Some(&6));
    assert_eq!(rng.between(9, 2), 9);
}
