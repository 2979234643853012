# Plugins and plat-agent on every client. Run it beside agent.json: nomad job run plat-agent.nomad.hcl
job "plat-agent" {
  type     = "system"
  priority = 90

  group "plat-agent" {
    # Routes stay while it is restarted.
    restart {
      attempts = 10
      interval = "5m"
      delay    = "5s"
      mode     = "delay"
    }

    task "install" {
      driver = "docker"

      lifecycle {
        hook = "prestart"
      }

      config {
        image           = "registry.example.org/plat:0.1.0"
        entrypoint      = ["/bin/plat"]
        args            = ["install", "--root", "/host"]
        cap_drop        = ["all"]
        readonly_rootfs = true
        volumes = [
          "/opt/cni/bin:/host/opt/cni/bin",
          "/var/lib/plat:/host/var/lib/plat",
        ]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }

    task "plat-agent" {
      driver = "docker"

      config {
        image      = "registry.example.org/plat:0.1.0"
        entrypoint = ["/bin/plat-agent"]
        args       = ["--config", "/local/agent.json"]

        # The routes are the host's; a boot of it is told by its process 1.
        network_mode    = "host"
        pid_mode        = "host"
        cap_drop        = ["all"]
        cap_add         = ["net_admin"]
        readonly_rootfs = true
        volumes = [
          "/run/plat:/run/plat",
          "/var/lib/plat:/var/lib/plat",
        ]
      }

      template {
        data        = file("agent.json")
        destination = "local/agent.json"
        change_mode = "restart"
      }

      resources {
        cpu    = 50
        memory = 128
      }
    }
  }
}
