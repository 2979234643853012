//! Asks a container runtime through the Container Runtime Interface which pods and containers it has.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use ipam_core::config::Owner;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{
    Container, ContainerState, ListContainersRequest, ListPodSandboxRequest, PodSandbox,
    PodSandboxState,
};
use tonic::transport::{Channel, Endpoint};

use crate::Error;

/// How long the runtime may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long it may take for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// The longest answer, in bytes: some thousand pods have a few megabytes.
const LONGEST: usize = 256 << 20;

/// What a container runtime has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CriSeen {
    /// By ID: pod sandboxes, whose IDs are the container IDs of CNI, and containers.
    pub containers: HashMap<String, CriContainer>,
}

/// A pod sandbox or a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CriContainer {
    /// Whether it is ready, or anything in it may run.
    pub lives: bool,
    /// Its pod.
    pub owner: Owner,
}

/// Asks the runtime behind a socket.
///
/// # Errors
/// If it does not answer completely.
pub fn ask(socket: &Path) -> Result<CriSeen, Error> {
    let path = socket.to_str().unwrap_or_default();
    let path = path.strip_prefix("unix://").unwrap_or(path);
    let failed = |what: String| {
        Error::new(
            format!("the container runtime at {} cannot be asked: {what}", socket.display()),
            "--cri needs its socket, such as /run/containerd/containerd.sock or \
             /run/crio/crio.sock, and must be root's",
        )
    };
    if let Err(error) = std::os::unix::net::UnixStream::connect(path) {
        return Err(failed(error.to_string()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let endpoint = Endpoint::from_shared(format!("unix://{path}"))
        .map_err(|error| failed(error.to_string()))?
        .connect_timeout(CONNECT)
        .timeout(ANSWER);
    let answers = runtime.block_on(async {
        let client = RuntimeServiceClient::<Channel>::new(endpoint.connect_lazy());
        let mut client = client.max_decoding_message_size(LONGEST);
        let pods = client.list_pod_sandbox(ListPodSandboxRequest { filter: None }).await?;
        let containers = client.list_containers(ListContainersRequest { filter: None }).await?;
        Ok((pods.into_inner().items, containers.into_inner().containers))
    });
    answers
        .map(|(pods, containers)| CriSeen::new(pods, containers))
        .map_err(|status: tonic::Status| failed(status.message().to_owned()))
}

impl CriSeen {
    /// From the runtime's answers. A sandbox whose own process is dead lives while a container in it does.
    fn new(pods: Vec<PodSandbox>, containers: Vec<Container>) -> Self {
        let mut all: HashMap<String, CriContainer> = HashMap::new();
        for pod in pods {
            let lives = pod.state() == PodSandboxState::SandboxReady;
            let owner = pod.metadata.map_or_else(Owner::default, |metadata| Owner {
                namespace: Some(metadata.namespace),
                name: Some(metadata.name),
                uid: Some(metadata.uid),
            });
            all.insert(pod.id, CriContainer { lives, owner });
        }
        for container in containers {
            // Created, running, and whatever the runtime does not know.
            let lives = container.state() != ContainerState::ContainerExited;
            let pod = all.get_mut(&container.pod_sandbox_id);
            let owner = pod.map_or_else(Owner::default, |pod| {
                pod.lives |= lives;
                pod.owner.clone()
            });
            all.insert(container.id, CriContainer { lives, owner });
        }
        Self { containers: all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_cri::v1::PodSandboxMetadata;

    #[test]
    fn a_pod_lives_while_anything_in_it_does() {
        let pod = |id: &str, state: PodSandboxState| PodSandbox {
            id: id.to_owned(),
            state: state.into(),
            metadata: Some(PodSandboxMetadata {
                name: format!("pod-{id}"),
                ..PodSandboxMetadata::default()
            }),
            ..PodSandbox::default()
        };
        let container = |id: &str, pod: &str, state: ContainerState| Container {
            id: id.to_owned(),
            pod_sandbox_id: pod.to_owned(),
            state: state.into(),
            ..Container::default()
        };
        let seen = CriSeen::new(
            vec![
                pod("ready", PodSandboxState::SandboxReady),
                pod("dead", PodSandboxState::SandboxNotready),
                pod("orphaned", PodSandboxState::SandboxNotready),
            ],
            vec![
                container("a", "ready", ContainerState::ContainerExited),
                container("b", "dead", ContainerState::ContainerExited),
                container("c", "orphaned", ContainerState::ContainerRunning),
                container("d", "elsewhere", ContainerState::ContainerUnknown),
            ],
        );
        for (id, lives) in [
            ("ready", true),
            ("dead", false),
            ("orphaned", true),
            ("a", false),
            ("b", false),
            ("c", true),
            ("d", true),
        ] {
            assert_eq!(seen.containers[id].lives, lives, "{id}");
        }
        assert_eq!(seen.containers["b"].owner.name.as_deref(), Some("pod-dead"));
    }

    #[test]
    fn a_socket_that_nobody_listens_at_is_named() {
        let error = ask(Path::new("/run/none.sock")).unwrap_err();
        assert!(error.message.contains("/run/none.sock"), "{error}");
    }
}
