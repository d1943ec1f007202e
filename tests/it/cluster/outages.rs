//! Redis away, Postgres away: what goes on, and how soon all is well again.
