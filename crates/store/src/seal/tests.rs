//! What is sealed opens in its place and nowhere else.

use model::Secret;

use super::{Place, Sealer};
use crate::key::KeySource;

fn sealer(digit: &str) -> Sealer {
    let source = KeySource::Env {
        variable: "K".to_owned(),
        text: Secret::new(digit.repeat(64)),
    };
    Sealer::new(&source.load().unwrap().unwrap())
}

const PLACE: Place<'static> = Place {
    kind: "setting",
    name: "crm",
    field: "api_key",
};

#[test]
fn opens_only_in_its_place_with_its_key() {
    let sealed = sealer("a").seal(PLACE, b"hunter2").unwrap();
    assert_eq!(sealer("a").open(PLACE, &sealed).unwrap(), b"hunter2");
    assert!(sealer("b").open(PLACE, &sealed).is_err());
    let elsewhere = [
        Place {
            kind: "secret",
            ..PLACE
        },
        Place {
            name: "crm2",
            ..PLACE
        },
        Place {
            field: "api",
            ..PLACE
        },
        Place {
            name: "crma",
            field: "pi_key",
            ..PLACE
        },
    ];
    for place in elsewhere {
        assert!(sealer("a").open(place, &sealed).is_err());
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let sealed = sealer("a").seal(PLACE, b"hunter2").unwrap();
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        assert!(sealer("a").open(PLACE, &changed).is_err(), "byte {index}");
        assert!(
            sealer("a").open(PLACE, &sealed[..index]).is_err(),
            "cut at {index}"
        );
    }
}

#[test]
fn the_same_text_is_never_sealed_alike() {
    let one = sealer("a").seal(PLACE, b"hunter2").unwrap();
    let two = sealer("a").seal(PLACE, b"hunter2").unwrap();
    assert_ne!(one, two);
    assert!(!one.windows(7).any(|part| part == b"hunter2"));
}
