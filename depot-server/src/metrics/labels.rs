//! Values of labels that are closed sets: stable words.

/// Kinds of lists: stable words.
pub const LIST_WORDS: &[&str] = &["tariff", "hotlist", "actions", "config", "release"];

/// The reasons for which a message is set aside.
pub const QUARANTINE_REASONS: &[&str] = &[
    "unknown-topic",
    "unknown-validator",
    "unreadable",
    "unknown-version",
    "bad-signature",
    "wrong-validator",
    "chain-broken",
    "conflicting",
    "oversize",
];

/// Kinds of exceptions: stable words, the label values of the counters.
pub const EXCEPTION_KINDS: &[&str] = &[
    "fork",
    "proof-invalid",
    "balance-mismatch",
    "counters-mismatch",
    "product-without-order",
    "unexplained-load",
    "contradiction",
    "register-mismatch",
    "chain-broken",
    "charged-though-blocked",
    "ticket-used-twice",
    "ticket-not-issued",
    "unknown-card",
    "fare-mismatch",
    "payment-without-order",
    "order-without-payment",
    "payment-differs",
    "order-overdue",
    "top-up-stopped",
    "account-past-due",
    "charged-without-passage",
    "clock-wrong",
    "card-gap",
    "sequence-gap",
    "in-doubt",
    "quarantined",
];
