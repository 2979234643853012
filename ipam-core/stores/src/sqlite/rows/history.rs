//! Allocations that have ended.

use ipam_core::addr::Addr;
use ipam_core::identity::PodInterface;
use rusqlite::OptionalExtension as _;

use super::{Rows, seconds};
use crate::boot::Moment;
use crate::sqlite::schema::Key;
use crate::survey::Ended;

/// How many ended allocations are remembered.
const HISTORY: i64 = 10_000;

impl Rows<'_> {
    /// Notes that an allocation ends.
    pub(super) fn remember(&self, addr: Addr, ended: Ended, now: Moment) -> rusqlite::Result<()> {
        self.connection.execute(
            "INSERT INTO history (network, addr, container, ifname, pod_namespace, pod_name, \
             pod_uid, since, until, ended, cni_network) \
             SELECT network, addr, container, ifname, pod_namespace, pod_name, pod_uid, since, \
             ?3, ?4, cni_network FROM allocation WHERE network = ?1 AND addr = ?2",
            (self.network, Key(addr), seconds(now.unix), ended as u8),
        )?;
        self.trim_history()
    }

    fn trim_history(&self) -> rusqlite::Result<()> {
        let last = self.connection.last_insert_rowid();
        self.connection
            .execute("DELETE FROM history WHERE id <= ?1", [last.saturating_sub(HISTORY)])
            .map(|_| ())
    }

    /// Whether the allocation of an address that has ended last was this pod's; `None` if none is remembered.
    pub(crate) fn was_last_of(
        &self,
        addr: Addr,
        pod: &PodInterface,
    ) -> rusqlite::Result<Option<bool>> {
        self.connection
            .query_row(
                "SELECT pod_namespace IS ?3 AND pod_name IS ?4 AND ifname = ?5 FROM history \
                 WHERE network = ?1 AND addr = ?2 ORDER BY id DESC LIMIT 1",
                (self.network, Key(addr), &pod.namespace, &pod.name, pod.ifname.as_str()),
                |row| row.get(0),
            )
            .optional()
    }

    /// Ends everything that a former boot has left.
    pub(crate) fn end_former_boot(&self, now: Moment) -> rusqlite::Result<()> {
        self.connection.execute(
            "INSERT INTO history (network, addr, container, ifname, pod_namespace, pod_name, \
             pod_uid, since, until, ended, cni_network) \
             SELECT network, addr, container, ifname, pod_namespace, pod_name, pod_uid, since, \
             ?2, ?3, cni_network FROM allocation WHERE network = ?1 ORDER BY addr LIMIT ?4",
            (self.network, seconds(now.unix), Ended::Reboot as u8, HISTORY),
        )?;
        self.trim_history()?;
        self.free_everything()?;
        self.connection
            .execute(
                "UPDATE network SET pin = NULL, resting = 0, aside = NULL WHERE id = ?1",
                [self.network],
            )
            .map(|_| ())
    }
}
