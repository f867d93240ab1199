//! Numbers come back, and bytes that are none are refused.

use super::*;

#[test]
fn numbers_come_back() {
    let numbers = [
        0,
        1,
        127,
        128,
        16_383,
        16_384,
        u64::from(u32::MAX),
        u64::MAX,
    ];
    let mut bytes = Vec::new();
    numbers.iter().for_each(|&number| put(number, &mut bytes));
    let mut reader = Reader(&bytes);
    assert_eq!(numbers.map(|_| reader.u64()), numbers.map(Some));
    assert_eq!(reader.u64(), None);

    let signed = [0, -1, 1, -64, 64, i64::MIN, i64::MAX];
    let mut bytes = Vec::new();
    signed
        .iter()
        .for_each(|&number| put_signed(number, &mut bytes));
    let mut reader = Reader(&bytes);
    assert_eq!(signed.map(|_| reader.signed()), signed.map(Some));
}

#[test]
fn endless_and_cut_numbers_are_refused() {
    assert_eq!(Reader(&[0x80; 20]).u64(), None);
    assert_eq!(Reader(&[0x80]).u64(), None);
    assert_eq!(Reader(&[1, 2]).take(3), None);
    let mut large = Vec::new();
    put(1 << 32, &mut large);
    assert_eq!(Reader(&large).u32(), None);
}
