# For /etc/nomad.d of each client. Networks are looked for when the client starts, or at SIGHUP.
client {
  enabled        = true
  cni_path       = "/opt/cni/bin"
  cni_config_dir = "/opt/cni/config"
}

# For the job plat-agent alone: the capability that it asks for, beside Docker's own, and directories of the host.
plugin "docker" {
  config {
    allow_caps = [
      "audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "mknod", "net_bind_service", "setfcap", "setgid",
      "setpcap", "setuid", "sys_chroot", "net_admin",
    ]
    volumes {
      enabled = true
    }
  }
}
