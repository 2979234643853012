# A service on the network "pods": its allocations have addresses of their node's subnet.
job "web" {
  group "web" {
    count = 2

    network {
      mode = "cni/pods"

      # By the plugin portmap, on a port of the host that Nomad chooses.
      port "http" {
        to = 8080
      }
    }

    task "web" {
      driver = "docker"

      config {
        image   = "docker.io/library/busybox:1"
        command = "httpd"
        args    = ["-f", "-p", "8080", "-h", "/local"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
