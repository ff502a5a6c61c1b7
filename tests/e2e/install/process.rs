//! A process in a pod, found on the node and killed there.

use std::{fs, process::Command};

/// SIGKILL to the controller in this pod: what the kernel does when memory is out, and what no signal handler sees.
pub fn kill(pod: &str) {
    let pids: Vec<_> =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let of_pod = |pid: &&String| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let is_controller =
            command.split(|byte| *byte == 0).next().is_some_and(|program| program.ends_with(b"/bascule-controller"));
        is_controller && environment.split(|byte| *byte == 0).any(|pair| pair == format!("HOSTNAME={pod}").as_bytes())
    };
    let pid = pids.iter().find(of_pod).unwrap_or_else(|| panic!("no process of pod {pod} on this node"));
    assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
}
