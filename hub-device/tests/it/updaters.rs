//! Updaters on real directories and a real program that speaks fwup's framing.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use hub_device::{
    install_file,
    updater::{Updater, UpdaterError, ab::AbUpdater, fwup::FwupUpdater},
};
use hub_firmware::PublicKey;
use tempfile::TempDir;

use crate::firmware::{self, File};

fn save(file: &File, directory: &Path) -> PathBuf {
    let path = directory.join("file.fw");
    fs::write(&path, &file.bytes).unwrap();
    path
}

async fn install(file: &File, updater: &Updater) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let keys = [file.key.public_key()];
    match install_file(&save(file, directory.path()), updater, &keys).await {
        Ok(firmware) => {
            assert_eq!(firmware.uuid, file.uuid);
            Ok(())
        }
        Err(error) => Err(std::error::Error::source(&error)
            .map_or_else(|| error.to_string(), ToString::to_string)),
    }
}

#[tokio::test]
async fn slots_take_turns_and_hold_resources_and_metadata() {
    let state = tempfile::tempdir().unwrap();
    let ab = AbUpdater::new(state.path());
    let updater = Updater::Ab(ab.clone());
    assert_eq!(updater.running().await.unwrap(), None);
    for (version, slot) in [("1.0.0", "a"), ("2.0.0", "b"), ("3.0.0", "a")] {
        let file = firmware::file(version, 200_000);
        install(&file, &updater).await.unwrap();
        let active = ab.active_slot().await.unwrap().unwrap();
        assert_eq!(active, state.path().join(slot));
        assert!(fs::read(active.join("0000-rootfs.img")).unwrap() == file.image);
        let running = updater.running().await.unwrap().unwrap();
        assert_eq!(
            (running.version.as_str(), running.uuid.as_str()),
            (version, file.uuid.as_str())
        );
    }
}

#[tokio::test]
async fn a_refused_file_leaves_the_active_slot_as_it_was() {
    let state = tempfile::tempdir().unwrap();
    let updater = Updater::Ab(AbUpdater::new(state.path()));
    install(&firmware::file("1.0.0", 50_000), &updater)
        .await
        .unwrap();
    let before = updater.running().await.unwrap();
    let good = firmware::file("2.0.0", 50_000);
    for spoil in [25_000, good.bytes.len() - 5] {
        let mut bad = firmware::file("2.0.0", 50_000);
        bad.bytes[spoil] ^= 1;
        assert!(install(&bad, &updater).await.is_err(), "byte {spoil}");
        assert_eq!(updater.running().await.unwrap(), before);
    }
    let mut cut = firmware::file("2.0.0", 50_000);
    cut.bytes.truncate(40_000);
    assert!(install(&cut, &updater).await.is_err());
    assert_eq!(updater.running().await.unwrap(), before);
    let directory = tempfile::tempdir().unwrap();
    let foreign: PublicKey = firmware::file("9.0.0", 1).key.public_key();
    assert!(
        install_file(&save(&good, directory.path()), &updater, &[foreign])
            .await
            .is_err()
    );
    assert_eq!(updater.running().await.unwrap(), before);
}

#[tokio::test]
async fn a_half_written_marker_is_no_marker() {
    let state = tempfile::tempdir().unwrap();
    let updater = Updater::Ab(AbUpdater::new(state.path()));
    install(&firmware::file("1.0.0", 100), &updater)
        .await
        .unwrap();
    fs::write(state.path().join("active.new"), b"").unwrap();
    assert!(
        updater.running().await.unwrap().is_some(),
        "a rename that never happened changes nothing"
    );
}

/// Speaks the framing of `fwup --framing` as the real program does: reads chunks to the empty one, writes the bytes to
/// its device file, tells progress, and ends as its task says. In Perl, which every Debian has.
const STAND_IN: &str = r#"#!/usr/bin/perl
use strict; use warnings;
binmode STDIN; binmode STDOUT; $| = 1;
my ($task, $path, $keys) = ('', '', 0);
while (@ARGV) {
    my $word = shift @ARGV;
    if ($word eq '--task') { $task = shift @ARGV }
    elsif ($word eq '-d') { $path = shift @ARGV }
    elsif ($word eq '--public-key') { $keys++; shift @ARGV }
}
sub tell_ { my ($kind, $code, $text) = @_; print pack('N', 4 + length $text) . $kind . pack('n', $code) . $text }
sub fail { tell_('ER', 0, $_[0]); exit 1 }
tell_('PR', 0, '');
fail("no such task: $task") if $task eq 'nonsense';
fail("no key") unless $keys;
open(my $out, '>', $path) or fail('cannot open');
binmode $out;
my ($count, $total) = (0, 0);
while (1) {
    read(STDIN, my $head, 4) == 4 or exit 3;
    my $length = unpack('N', $head);
    last if $length == 0;
    read(STDIN, my $chunk, $length) == $length or exit 3;
    print $out $chunk;
    tell_('PR', ++$count, '') if $count < 99;
    fail('disk full') if $task eq 'dies' && $count > 2;
}
close $out;
tell_('WN', 0, 'something odd');
exit 0 if $task eq 'silent';
tell_('PR', 100, '');
tell_('OK', 0, '');
exit($task eq 'late' ? 1 : 0);
"#;

/// The program, written before any test starts a process: a file that is still open for writing cannot be run.
fn stand_in() -> &'static Path {
    static PROGRAM: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PROGRAM.get_or_init(|| {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fwup");
        fs::write(&path, STAND_IN).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (directory, path)
    });
    path
}

fn fwup(file: &File, task: &str, directory: &Path) -> Updater {
    Updater::Fwup(FwupUpdater {
        program: stand_in().to_owned(),
        devpath: directory.join("device.img"),
        task: task.to_owned(),
        state: directory.join("state"),
        public_keys: vec![file.key.public_key()],
    })
}

#[tokio::test]
async fn fwup_gets_the_whole_file_and_is_believed_only_with_ok_and_exit_zero() {
    let file = firmware::file("2.0.0", 300_000);
    for (task, error) in [
        ("upgrade", None),
        ("nonsense", Some("fwup: no such task: nonsense")),
        ("dies", Some("fwup: disk full")),
        ("silent", Some("fwup ended without a verdict")),
        ("late", Some("fwup exited with an error")),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let updater = fwup(&file, task, directory.path());
        assert_eq!(
            install(&file, &updater).await.err().as_deref(),
            error,
            "{task}"
        );
        assert_eq!(
            updater.running().await.unwrap().is_some(),
            error.is_none(),
            "{task}"
        );
        if error.is_none() {
            assert!(fs::read(directory.path().join("device.img")).unwrap() == file.bytes);
        }
    }
}

#[tokio::test]
async fn fwup_never_sees_the_end_of_a_wrong_file() {
    let mut file = firmware::file("2.0.0", 300_000);
    let last_data = file.bytes.len() - 20_000;
    file.bytes[last_data] ^= 1;
    let directory = tempfile::tempdir().unwrap();
    let updater = fwup(&file, "upgrade", directory.path());
    assert!(install(&file, &updater).await.is_err());
    assert_eq!(updater.running().await.unwrap(), None);
    let written = fs::read(directory.path().join("device.img")).unwrap_or_default();
    assert!(written.len() + 64 * 1024 <= file.bytes.len());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error() {
    let file = firmware::file("2.0.0", 10);
    let directory = tempfile::tempdir().unwrap();
    let Updater::Fwup(mut fwup) = fwup(&file, "upgrade", directory.path()) else {
        panic!("not fwup")
    };
    fwup.program = directory.path().join("nothing");
    let Err(error) = Updater::Fwup(fwup).begin().await else {
        panic!("started nothing")
    };
    assert!(matches!(error, UpdaterError::Start { .. }));
}
