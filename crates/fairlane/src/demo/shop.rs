//! A shop that never existed: its customers' journeys as Segment events.
//!
//! Made from a seeded generator, so that two demos send the same events (their ids differ).

use serde_json::{Value, json};

/// Yields the events of one customer after another, in the order in which a journey makes them.
pub struct Shop {
    random: SplitMix,
    journey: Vec<Value>,
    customers: u64,
}

struct Product {
    id: &'static str,
    name: &'static str,
    category: &'static str,
    cents: u64,
}

const PRODUCTS: [Product; 6] = [
    Product {
        id: "tea-01",
        name: "Darjeeling First Flush",
        category: "Tea",
        cents: 1_890,
    },
    Product {
        id: "tea-02",
        name: "Genmaicha",
        category: "Tea",
        cents: 1_290,
    },
    Product {
        id: "cup-07",
        name: "Stoneware Cup",
        category: "Tableware",
        cents: 2_400,
    },
    Product {
        id: "pot-03",
        name: "Cast Iron Teapot",
        category: "Tableware",
        cents: 8_900,
    },
    Product {
        id: "kit-11",
        name: "Matcha Starter Set",
        category: "Sets",
        cents: 5_450,
    },
    Product {
        id: "gft-25",
        name: "Gift Card",
        category: "Gifts",
        cents: 2_500,
    },
];

const PAGES: [(&str, &str); 3] = [("Home", "/"), ("Tea", "/tea"), ("Sale", "/sale")];
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36";

impl Shop {
    pub fn new(seed: u64) -> Self {
        Self {
            random: SplitMix(seed),
            journey: Vec::new(),
            customers: 0,
        }
    }

    /// The next event, ready to be an element of a batch.
    pub fn next_event(&mut self) -> Value {
        loop {
            if let Some(event) = self.journey.pop() {
                return event;
            }
            self.begin_journey();
        }
    }

    fn begin_journey(&mut self) {
        self.customers += 1;
        let anonymous = format!("anon-{:016x}", self.random.next());
        let user = format!("customer-{}", self.random.below(5_000));
        let mut events = Vec::new();
        let (page, path) = PAGES[self.random.index(PAGES.len())];
        events.push(json!({
            "type": "page", "name": page,
            "properties": {"path": path, "url": format!("https://shop.example{path}"), "title": page},
        }));
        let mut cart = Vec::new();
        for _ in 0..=self.random.below(3) {
            let product = &PRODUCTS[self.random.index(PRODUCTS.len())];
            let quantity = 1 + self.random.below(2);
            let line = product_line(product, quantity);
            events.push(json!({"type": "track", "event": "Product Viewed", "properties": line}));
            if self.random.below(2) == 0 {
                events.push(json!({"type": "track", "event": "Product Added", "properties": line}));
                cart.push((line, product.cents * quantity));
            }
        }
        if !cart.is_empty() && self.random.below(3) > 0 {
            events.push(json!({
                "type": "identify",
                "traits": {"email": format!("{user}@mail.example"), "plan": "club", "age": 20 + self.random.below(50)},
            }));
            let cents: u64 = cart.iter().map(|(_, cents)| cents).sum();
            let products: Vec<_> = cart.into_iter().map(|(line, _)| line).collect();
            events.push(json!({
                "type": "track", "event": "Order Completed",
                "properties": {
                    "order_id": format!("order-{}-{:08x}", self.customers, self.random.next() >> 32),
                    "currency": "EUR", "revenue": euros(cents), "total": euros(cents + 490),
                    "shipping": 4.9, "products": products,
                },
            }));
        }
        let known = self.random.below(2) == 0;
        for event in &mut events {
            event["anonymousId"] = json!(anonymous);
            if known || event["type"] == "identify" {
                event["userId"] = json!(user);
            }
            event["context"] = json!({
                "userAgent": BROWSER, "locale": "en-GB", "timezone": "Europe/Berlin",
                "page": {"path": path, "url": format!("https://shop.example{path}"), "referrer": ""},
                "library": {"name": "fairlane-demo", "version": env!("CARGO_PKG_VERSION")},
            });
        }
        events.reverse();
        self.journey = events;
    }
}

fn product_line(product: &Product, quantity: u64) -> Value {
    json!({
        "product_id": product.id, "sku": product.id, "name": product.name,
        "category": product.category, "price": euros(product.cents), "quantity": quantity,
        "currency": "EUR",
    })
}

fn euros(cents: u64) -> f64 {
    let cents = u32::try_from(cents).expect("a cart is far below 2^32 cents");
    f64::from(cents) / 100.0
}

/// The SplitMix64 generator (Steele, Lea, Flood 2014): enough for pretending.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).expect("a length fits 64 bits")))
            .expect("below a length")
    }
}
