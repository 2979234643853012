//! What VPP has of the node's attachments, compared and put back.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use vpp_plugin::record::Records;
use vpp_plugin::replay::{Place, Report, inspect, replay};

use super::{VppNode, VppPod};

impl VppNode {
    /// How every attachment is: nothing is changed.
    pub fn inspect(&self) -> Report {
        self.compare(false)
    }

    /// Puts back what VPP has lost.
    pub fn replay(&self) -> Report {
        self.compare(true)
    }

    fn compare(&self, fix: bool) -> Report {
        let records = Records::new(self.run_dir().join("vpp"));
        let deadline = Instant::now() + Duration::from_secs(60);
        let place = Place { records: &records, root: Path::new("/"), deadline };
        let mut client = self.client();
        let report = if fix { replay(&mut client, &place) } else { inspect(&mut client, &place) };
        report.expect("VPP answers")
    }
}

impl VppPod {
    /// What the pod has, without counters: addresses, routes of both families, neighbours.
    pub fn side(&self) -> [Value; 4] {
        let ip = |words: &[&str]| self.namespace.ip(words);
        [
            ip(&["address", "show"]),
            ip(&["-4", "route", "show"]),
            ip(&["-6", "route", "show"]),
            ip(&["neighbor", "show", "nud", "permanent"]),
        ]
    }
}
