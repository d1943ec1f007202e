//! What every store must do, whatever database is behind it.
//!
//! Each check is a function over `&dyn Store` on an empty database; [`store_suite!`] makes a test of each for one
//! implementation. An implementation is named by a future that opens a store on something fresh.

pub(super) mod batch;
pub(super) mod commands;
pub(super) mod concurrency;
pub(super) mod delivery;
pub(super) mod due;
pub(super) mod fleet;
pub(super) mod groups;
pub(super) mod identity;
pub(super) mod nodes;
pub(super) mod tenancy;
pub(super) mod tenants;
pub(super) mod updates;
pub(super) mod world;

/// Makes the tests of one implementation. `$open` is an expression of a future that gives `(guard, Arc<dyn Store>)`.
macro_rules! store_suite {
    ($open:expr; $($module:ident :: { $($name:ident),* $(,)? })*) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (_guard, store) = $open.await;
                crate::store::suite::$module::$name(store).await;
            })*
        })*
    };
}

/// Lists the checks by name, for an implementation that runs them all on one server.
macro_rules! list_of_checks {
    ($of:expr; $($module:ident :: { $($name:ident),* $(,)? })*) => {
        $of([$($((
            concat!(stringify!($module), "::", stringify!($name)),
            (|store| Box::pin(crate::store::suite::$module::$name(store))) as crate::store::suite::Check,
        ),)*)*])
    };
}

/// One check.
pub(super) type Check =
    fn(std::sync::Arc<dyn super::Store>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// All checks, for one implementation: as tests of their own by [`store_suite!`], or as a list by [`list_of_checks!`].
macro_rules! whole_store_suite {
    ($what:ident, $open:expr) => {
        crate::store::suite::$what! { $open;
            tenants::{
                names_are_taken_once, pages_lead_through_a_list, only_empty_things_are_deleted, tokens_live_until_they_do_not,
                first_answer_stays_for_a_day, racing_answers_agree,
            }
            tenancy::{foreign_rows_are_missing_rows, orgs_do_not_mix, foreign_ids_are_missing_ids}
            identity::{
                pins_decide_who_a_certificate_is, revocations_show_in_order, codes_work_once, authorities_are_found_by_name_or_key,
                provisioning_makes_and_renews, quota_holds_in_a_race, keys_stay_in_their_org,
            }
            batch::{a_batch_is_its_writes_one_by_one}
            fleet::{
                firmware_reads_back, targets_have_a_precedence, firmware_is_deleted_when_free, removed_keys_leave_their_firmware,
                deleted_devices_leave_a_last_change,
            }
            groups::{memberships_end_and_begin_again, a_leave_has_its_place_among_the_commands, groups_per_device_are_bounded, deleted_groups_keep_what_is_due, unknown_names_add_nobody}
            commands::{
                same_id_is_the_same_command, group_audience_is_exact, states_only_move_forward, cancelling_stops_what_was_not_sent,
                late_results_amend_expiry, lists_are_newest_first,
            }
            delivery::{
                join_gives_all_that_is_missing, joins_and_leaves_are_seen, older_generations_are_fenced, one_bad_write_spoils_no_other, refused_joins_write_nothing,
                dead_nodes_are_forgotten, updates_keep_the_latest, offers_are_counted_per_decision,
            }
            due::{pending_is_bounded, the_oldest_come_first_over_all_channels, acked_commands_never_return, group_changes_tell_what_is_live}
            updates::{joins_end_updates, no_text_is_too_strange}
            nodes::{
                leases_are_held_by_one_run, loads_and_orders_are_seen_by_all, living_nodes_are_not_reaped, sockets_are_claimed_again, no_stale_write_is_accepted, takeovers_leave_word,
                a_silent_holder_loses_and_a_living_one_stays, leaving_first_is_no_takeover,
            }
            concurrency::{audience_is_exact_while_members_come, no_change_is_missed, one_owner_at_a_time}
        }
    };
}

pub(super) use list_of_checks;
pub(super) use store_suite;
pub(super) use whole_store_suite;
