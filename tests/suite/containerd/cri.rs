//! The part of kubelet that talks to a container runtime: a client of the Container Runtime
//! Interface.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, DnsConfig, ExecSyncRequest,
    ImageSpec, LinuxPodSandboxConfig, ListPodSandboxRequest, PodSandboxConfig, PodSandboxMetadata,
    PodSandboxState, PodSandboxStatusRequest, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StatusRequest, StopPodSandboxRequest,
};
use serde_json::Value;
use support::wait_until;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

/// A connection to a container runtime.
pub(super) struct Cri {
    runtime: Runtime,
    client: RuntimeServiceClient<Channel>,
}

/// A pod: its configuration, which kubelet sends with each request about its containers, and the id
/// that the runtime has given it.
pub(super) struct Pod {
    pub(super) id: String,
    config: PodSandboxConfig,
}

impl Cri {
    /// Connects to a runtime, once it and its pod network are ready.
    pub(super) fn connect(socket: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))
            .expect("a socket's address")
            .timeout(Duration::from_secs(120));
        let client = runtime.block_on(async { RuntimeServiceClient::new(endpoint.connect_lazy()) });
        let mut cri = Self { runtime, client };
        let mut last = String::new();
        wait_until("the container runtime and its network are ready", || match cri.conditions() {
            Ok(conditions) => {
                last = format!("{conditions:?}");
                conditions.iter().all(|(_, ready)| *ready)
            }
            Err(status) => {
                last = status.to_string();
                false
            }
        });
        cri
    }

    fn conditions(&mut self) -> Result<Vec<(String, bool)>, Status> {
        let request = StatusRequest { verbose: false };
        let response = self.runtime.block_on(self.client.status(request))?;
        let status = response.into_inner().status.unwrap_or_default();
        Ok(status.conditions.into_iter().map(|one| (one.r#type, one.status)).collect())
    }

    /// Starts a pod without containers; the error is the runtime's text.
    pub(super) fn run_pod(&mut self, name: &str, cgroup: &str) -> Result<Pod, String> {
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("uid-{name}"),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            hostname: name.to_owned(),
            dns_config: Some(DnsConfig {
                servers: vec!["127.0.0.1".to_owned()],
                ..DnsConfig::default()
            }),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: cgroup.to_owned(),
                ..LinuxPodSandboxConfig::default()
            }),
            ..PodSandboxConfig::default()
        };
        let request =
            RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        let response = self.runtime.block_on(self.client.run_pod_sandbox(request));
        let id =
            response.map_err(|status| status.message().to_owned())?.into_inner().pod_sandbox_id;
        Ok(Pod { id, config })
    }

    /// Starts a container of a pod, and tells its id.
    pub(super) fn run_container(&mut self, pod: &Pod, image: &str) -> String {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: "main".to_owned(), attempt: 0 }),
            image: Some(ImageSpec { image: image.to_owned(), ..ImageSpec::default() }),
            ..ContainerConfig::default()
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        let created = self.runtime.block_on(self.client.create_container(request));
        let container_id = done("CreateContainer", created).container_id;
        let request = StartContainerRequest { container_id: container_id.clone() };
        let started = self.runtime.block_on(self.client.start_container(request));
        done("StartContainer", started);
        container_id
    }

    /// Pings an address from a container; panics if no answer comes.
    pub(super) fn ping(&mut self, container: &str, address: IpAddr) {
        let target = address.to_string();
        let request = ExecSyncRequest {
            container_id: container.to_owned(),
            cmd: ["ping", "-c", "1", "-w", "100", &target].map(str::to_owned).to_vec(),
            timeout: 110,
        };
        let response = self.runtime.block_on(self.client.exec_sync(request));
        let answer = done("ExecSync", response);
        let text = String::from_utf8_lossy(&answer.stdout);
        assert_eq!(answer.exit_code, 0, "{target} does not answer {container}: {text}");
    }

    /// The addresses of a pod and the process that holds its namespaces, as the runtime tells them.
    pub(super) fn inspect(&mut self, pod: &Pod) -> (Vec<IpAddr>, u64) {
        let request = PodSandboxStatusRequest { pod_sandbox_id: pod.id.clone(), verbose: true };
        let response = self.runtime.block_on(self.client.pod_sandbox_status(request));
        let told = done("PodSandboxStatus", response);
        let network = told.status.and_then(|status| status.network).unwrap_or_default();
        let addresses = [network.ip]
            .into_iter()
            .chain(network.additional_ips.into_iter().map(|one| one.ip))
            .filter(|address| !address.is_empty())
            .map(|address| address.parse().expect("an address"))
            .collect();
        let info: Value = serde_json::from_str(&told.info["info"]).expect("information in JSON");
        (addresses, info["pid"].as_u64().expect("a process id"))
    }

    /// Waits until the runtime has noticed that the process of a pod is gone; until then it may try to
    /// kill it, and fail.
    pub(super) fn wait_until_dead(&mut self, pod: &Pod) {
        wait_until("the runtime has noticed that a pod is dead", || {
            let request =
                PodSandboxStatusRequest { pod_sandbox_id: pod.id.clone(), verbose: false };
            let response = self.runtime.block_on(self.client.pod_sandbox_status(request));
            let status = done("PodSandboxStatus", response).status.unwrap_or_default();
            status.state() == PodSandboxState::SandboxNotready
        });
    }

    /// The ids of all pods.
    pub(super) fn pods(&mut self) -> Vec<String> {
        let request = ListPodSandboxRequest { filter: None };
        let response = self.runtime.block_on(self.client.list_pod_sandbox(request));
        done("ListPodSandbox", response).items.into_iter().map(|pod| pod.id).collect()
    }

    /// Stops a pod, as often as kubelet likes.
    pub(super) fn stop(&mut self, pod: &Pod) {
        let request = StopPodSandboxRequest { pod_sandbox_id: pod.id.clone() };
        let response = self.runtime.block_on(self.client.stop_pod_sandbox(request));
        done("StopPodSandbox", response);
    }

    /// Removes a pod, as often as kubelet likes.
    pub(super) fn remove(&mut self, pod: &Pod) {
        let request = RemovePodSandboxRequest { pod_sandbox_id: pod.id.clone() };
        let response = self.runtime.block_on(self.client.remove_pod_sandbox(request));
        done("RemovePodSandbox", response);
    }
}

fn done<T>(what: &str, response: Result<Response<T>, Status>) -> T {
    response.unwrap_or_else(|status| panic!("{what}: {}", status.message())).into_inner()
}
