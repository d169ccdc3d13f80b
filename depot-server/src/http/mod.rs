//! The operators' dashboard: pages, server-sent events and the API behind the pages.

pub mod views;
