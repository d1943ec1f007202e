//! Commands as operators give, read and cancel them.

use super::Db;
use async_trait::async_trait;
use hub_core::command::ExecutionState;
use hub_proto::cluster::{CommandBody, HintBody};
use hub_proto::id::{CommandId, DeviceId, OrgId, Seq};
use hub_proto::time::Timestamp;

use super::audience::Scope;
use super::due::command_id;
use super::executions::{self, code_of};
use super::failure::{conflict, found, store_failure};
use super::paging::Window;
use super::rows::{slug, time, time_opt};
use super::{Backend, channels, commit, engine, lookup};
use crate::store::delivery::Changed;
use crate::store::records::{
    Audience, Command, CommandQuery, DevicePath, Execution, GroupPath, NewCommand, Page, PageQuery,
};
use crate::store::{CommandStore, StoreError, StoreResult};

#[derive(sqlx::FromRow)]
struct CommandRow {
    id: Vec<u8>,
    device_id: Option<i64>,
    group_id: Option<i64>,
    seq: i64,
    name: String,
    args: String,
    created_at: i64,
    expires_at: i64,
    cancelled_at: Option<i64>,
}

#[async_trait]
impl CommandStore for Backend {
    async fn command_device(
        &self,
        path: DevicePath<'_>,
        command: NewCommand,
    ) -> StoreResult<Changed<Command>> {
        let mut tx = self.write_in(path.product.org).await?;
        let key = lookup::device(&mut tx, path).await?;
        let accepted = accept(&mut tx, key.org, Scope::Device(key.id), &command).await?;
        commit(tx).await?;
        Ok(accepted)
    }

    async fn command_group(
        &self,
        path: GroupPath<'_>,
        command: NewCommand,
    ) -> StoreResult<Changed<Command>> {
        let mut tx = self.write_in(path.product.org).await?;
        let key = lookup::group(&mut tx, path).await?;
        let accepted = accept(&mut tx, key.org, Scope::Group(key.id), &command).await?;
        commit(tx).await?;
        Ok(accepted)
    }

    async fn command(&self, org: OrgId, id: CommandId, now: Timestamp) -> StoreResult<Command> {
        let mut tx = self.read().await?;
        let row = found(row(&mut tx, org.0, id).await?, "command")?;
        load(&mut tx, row, now).await
    }

    async fn commands(
        &self,
        org: OrgId,
        of: CommandQuery<'_>,
        page: PageQuery,
        now: Timestamp,
    ) -> StoreResult<Page<Command>> {
        let window = Window::new(&page)?;
        let mut tx = self.read().await?;
        let scope = Scope::of(&mut tx, of).await?;
        let rows: Vec<CommandRow> = sqlx::query_as(
            "SELECT id, device_id, group_id, seq, name, args, created_at, expires_at, cancelled_at FROM command \
             WHERE org_id = $1 AND ch = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4",
        )
        .bind(org.0)
        .bind(scope.channel().to_string())
        .bind(window.below())
        .bind(window.fetch())
        .fetch_all(&mut *tx)
        .await
        .map_err(store_failure)?;
        let seqs = (
            rows.last().map_or(0, |row| row.seq),
            rows.first().map_or(0, |row| row.seq),
        );
        let mut counts = executions::counts(&mut tx, scope, seqs, now).await?;
        let audience = scope.names(&mut tx).await?;
        window.page(
            rows,
            |row| row.seq,
            |row| {
                let id = command_id(&row.id)?;
                command_of(
                    row,
                    id,
                    audience.clone(),
                    counts.remove(&id).unwrap_or_default(),
                )
            },
        )
    }

    async fn executions(
        &self,
        org: OrgId,
        id: CommandId,
        page: PageQuery,
        now: Timestamp,
    ) -> StoreResult<Page<Execution>> {
        let window = Window::new(&page)?;
        let mut tx = self.read().await?;
        let row = found(row(&mut tx, org.0, id).await?, "command")?;
        let scope = Scope::new(row.device_id, row.group_id)?;
        executions::page(&mut tx, scope, id, window, now).await
    }

    async fn cancel_command(
        &self,
        org: OrgId,
        id: CommandId,
        now: Timestamp,
    ) -> StoreResult<Changed<Command>> {
        let mut tx = self.write_in(org).await?;
        let before = found(row(&mut tx, org.0, id).await?, "command")?;
        let scope = Scope::new(before.device_id, before.group_id)?;
        if before.cancelled_at.is_some() {
            return Ok(Changed {
                value: load(&mut tx, before, now).await?,
                changes: Vec::new(),
            });
        }
        if let Scope::Device(device) = scope {
            // a claim that is under way comes first, or not at all
            engine::lock_device(&mut tx, DeviceId(device)).await?;
        }
        let counts = executions::counts(&mut tx, scope, (before.seq, before.seq), now).await?;
        let queued = counts
            .values()
            .flatten()
            .any(|(state, _)| *state == ExecutionState::Queued);
        if !queued {
            return Err(conflict(
                "too_late",
                "the command was sent already or is over; nothing is left to cancel",
            ));
        }
        cancel(&mut tx, id, now).await?;
        let change = channels::change(&mut tx, scope.channel(), None).await?;
        let after = found(row(&mut tx, org.0, id).await?, "command")?;
        let value = load(&mut tx, after, now).await?;
        commit(tx).await?;
        Ok(Changed {
            value,
            changes: vec![change],
        })
    }
}

/// Stores a command under the next seq of its channel; the same id again is the same command.
async fn accept(
    db: &mut Db,
    org: i64,
    scope: Scope,
    new: &NewCommand,
) -> StoreResult<Changed<Command>> {
    if let Some(known) = row(db, org, new.id).await? {
        if Scope::new(known.device_id, known.group_id)? != scope {
            return Err(taken());
        }
        return Ok(Changed {
            value: load(db, known, new.now).await?,
            changes: Vec::new(),
        });
    }
    let change = channels::change(db, scope.channel(), hint_body(new)).await?;
    insert(db, org, scope, change.seq, new).await?;
    let stored = found(row(db, org, new.id).await?, "command")?;
    Ok(Changed {
        value: load(db, stored, new.now).await?,
        changes: vec![change],
    })
}

async fn insert(
    db: &mut Db,
    org: i64,
    scope: Scope,
    seq: Seq,
    new: &NewCommand,
) -> StoreResult<()> {
    let (device, group) = scope.columns();
    sqlx::query(
        "INSERT INTO command (id, org_id, device_id, group_id, ch, seq, name, args, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(&new.id.0.as_bytes()[..])
    .bind(org)
    .bind(device)
    .bind(group)
    .bind(scope.channel().to_string())
    .bind(seq.0)
    .bind(&*new.name)
    .bind(&new.args)
    .bind(new.now.as_micros())
    .bind(new.expires_at.as_micros())
    .execute(&mut *db)
    .await
    .map_err(|error| {
        // the only key the caller chooses is the id
        let unique = error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation);
        if unique { taken() } else { store_failure(error) }
    })?;
    if let Some(device) = device {
        sqlx::query(
            "INSERT INTO execution (command_id, device_id, org_id, state) VALUES ($1, $2, $3, $4)",
        )
        .bind(&new.id.0.as_bytes()[..])
        .bind(device)
        .bind(org)
        .bind(code_of(ExecutionState::Queued))
        .execute(db)
        .await
        .map_err(store_failure)?;
    }
    Ok(())
}

/// Marks a command cancelled, and a device's execution of it while it was never sent.
async fn cancel(db: &mut Db, id: CommandId, now: Timestamp) -> StoreResult<()> {
    let stored = id.0.as_bytes();
    sqlx::query("UPDATE command SET cancelled_at = $2 WHERE id = $1")
        .bind(&stored[..])
        .bind(now.as_micros())
        .execute(&mut *db)
        .await
        .map_err(store_failure)?;
    sqlx::query("UPDATE execution SET state = $2, at = $3 WHERE command_id = $1 AND state = $4")
        .bind(&stored[..])
        .bind(code_of(ExecutionState::Cancelled))
        .bind(now.as_micros())
        .bind(code_of(ExecutionState::Queued))
        .execute(db)
        .await
        .map_err(store_failure)?;
    Ok(())
}

async fn row(db: &mut Db, org: i64, id: CommandId) -> StoreResult<Option<CommandRow>> {
    sqlx::query_as(
        "SELECT id, device_id, group_id, seq, name, args, created_at, expires_at, cancelled_at FROM command \
         WHERE id = $1 AND org_id = $2",
    )
    .bind(&id.0.as_bytes()[..])
    .bind(org)
    .fetch_optional(db)
    .await
    .map_err(store_failure)
}

/// A command with its audience's names and its counts.
async fn load(db: &mut Db, row: CommandRow, now: Timestamp) -> StoreResult<Command> {
    let scope = Scope::new(row.device_id, row.group_id)?;
    let id = command_id(&row.id)?;
    let mut counts = executions::counts(db, scope, (row.seq, row.seq), now).await?;
    let audience = scope.names(db).await?;
    command_of(row, id, audience, counts.remove(&id).unwrap_or_default())
}

fn command_of(
    row: CommandRow,
    id: CommandId,
    audience: Audience,
    counts: executions::Counts,
) -> StoreResult<Command> {
    Ok(Command {
        id,
        audience,
        name: slug(&row.name)?,
        args: row.args,
        seq: Seq(row.seq),
        created_at: time(row.created_at),
        expires_at: time(row.expires_at),
        cancelled_at: time_opt(row.cancelled_at),
        counts,
    })
}

/// The command as it travels in the hint, when it is small enough.
fn hint_body(new: &NewCommand) -> Option<HintBody> {
    let body = CommandBody {
        id: new.id,
        name: new.name.clone().into(),
        args_json: new.args.as_str().into(),
        expires_at: new.expires_at,
    };
    body.fits().then_some(HintBody::Command(body))
}

fn taken() -> StoreError {
    conflict("command_exists", "this id belongs to another command")
}
