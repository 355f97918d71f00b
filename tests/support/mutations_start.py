"""Faults of images, start, configuration and crashes, as kubelet shows them."""
# ruff: noqa: E501  # messages of kubelet, scheduler and controllers stand as they are written, in one piece
# A state reads as a table, one fact a line:
# fmt: off

from __future__ import annotations

from collections.abc import Callable

from tests.support.judging import Expected
from tests.support.kubelet import crash, creating, killed_by_liveness, pull_failure, status_of, unready, waiting
from tests.support.scene import Scene
from tests.support.simulation import Raw, probe


def _pull(error: str) -> Callable[[str], str]:
    return lambda image: (
        f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {error.format(image=image, host=image.split("/")[0])}'
    )


def _bad_pull(s: Scene, image: str, error: str, *words: str) -> Expected:
    for pod in s.container(lambda c: c.update(image=image)):
        code = "NotFound" if error.endswith("not found") else "Unknown"
        pull_failure(s.sim, pod, f"rpc error: code = {code} desc = {_pull(error)(image)}")
    return s.cause(*words)


def image_tag_missing(s: Scene) -> Expected:
    tag = s.rng.choice(("2.14.O", "v9.9.9", "relase-7"))
    return _bad_pull(s, f"{s.sim.registry}/{s.app}:{tag}", "{image}: not found", tag, "not found|does not exist|NotFound")


def image_repository_denied(s: Scene) -> Expected:
    error = "pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"
    return _bad_pull(s, f"docker.io/fernhill-private/{s.app}:1.2.0", error, "fernhill-private", "authoriz|credential|denied|pull secret|imagePullSecret")


def image_unauthorized(s: Scene) -> Expected:
    error = 'failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://{host}/token?scope=repository%3Ax%3Apull: 401 Unauthorized'
    return _bad_pull(s, f"ghcr.io/closed/{s.app}:3.1.0", error, "401|Unauthorized|credential", "ghcr.io/closed")


def pull_secret_missing(s: Scene) -> Expected:
    def patch(spec: Raw) -> None:
        spec["imagePullSecrets"] = [{"name": "regcred-fern"}]
        spec["containers"][0]["image"] = f"registry.fern-priv.example/{s.app}:1.0.3"

    for pod in s.release(patch):
        image = status_of(pod)["image"]
        error = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials'
        pull_failure(s.sim, pod, f"rpc error: code = Unknown desc = {error}")
        said = "Unable to retrieve some image pull secrets (regcred-fern); attempting to pull the image may not succeed."
        s.sim.event(pod, "FailedToRetrieveImagePullSecret", said, count=30)
    return s.cause("regcred-fern", "not found|does not exist|missing|no such|not there|no Secret")


def registry_name_unknown(s: Scene) -> Expected:
    image = f"registry.fernhil.example/{s.app}:1.4.0"
    error = f'failed to do request: Head "https://registry.fernhil.example/v2/{s.app}/manifests/1.4.0": dial tcp: lookup registry.fernhil.example on 10.58.0.2:53: no such host'
    return _bad_pull(s, image, error, "registry.fernhil.example", "no such host|resolve")


def registry_unreachable(s: Scene) -> Expected:
    image = f"10.77.4.9:5000/{s.app}:1.4.0"
    error = f'failed to do request: Head "https://10.77.4.9:5000/v2/{s.app}/manifests/1.4.0": dial tcp 10.77.4.9:5000: i/o timeout'
    return _bad_pull(s, image, error, "10.77.4.9:5000", "timeout|reach")


def registry_certificate(s: Scene) -> Expected:
    image = f"registry.inner.example/{s.app}:1.4.0"
    error = f'failed to do request: Head "https://registry.inner.example/v2/{s.app}/manifests/1.4.0": tls: failed to verify certificate: x509: certificate signed by unknown authority'
    return _bad_pull(s, image, error, "registry.inner.example", "x509|certificate")


def registry_rate_limit(s: Scene) -> Expected:
    error = "unexpected status code https://registry-1.docker.io/v2/library/nginx/manifests/1.27.3: 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
    return _bad_pull(s, "docker.io/library/nginx:1.27.3", error, "rate limit|toomanyrequests|429")


def image_wrong_platform(s: Scene) -> Expected:
    for pod in s.container(lambda c: c.update(image=f"{s.sim.registry}/{s.app}:2.0.0-arm64")):
        image = status_of(pod)["image"]
        pull_failure(s.sim, pod, f'rpc error: code = NotFound desc = failed to pull and unpack image "{image}": no match for platform in manifest: not found')
    return s.cause("platform|architecture", "2.0.0-arm64")


def exec_format(s: Scene) -> Expected:
    for pod in s.container(lambda c: c.update(image=f"{s.sim.registry}/{s.app}:2.0.0-arm64")):
        crash(s.sim, pod, 255, "exec /usr/local/bin/server: exec format error")
    return s.cause("exec format error", "architecture|platform|arm64")


def image_name_invalid(s: Scene) -> Expected:
    image = f"{s.sim.registry}/{s.app.title()}:1.0.0"
    for pod in s.container(lambda c: c.update(image=image)):
        said = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": invalid reference format: repository name ({image.split("/", 1)[1].rsplit(":", 1)[0]}) must be lowercase'
        waiting(s.sim, pod, "InvalidImageName", said)
        s.sim.event(pod, "InspectFailed", said, count=20)
        s.sim.event(pod, "Failed", "Error: InvalidImageName", count=20)
    return s.cause(image, "lowercase|invalid")


def image_never_pull(s: Scene) -> Expected:
    for pod in s.container(lambda c: c.update(imagePullPolicy="Never")):
        said = f'Container image "{status_of(pod)["image"]}" is not present with pull policy of Never'
        waiting(s.sim, pod, "ErrImageNeverPull", said)
        s.sim.event(pod, "ErrImageNeverPull", said, count=20)
    return s.cause("Never", "not present|pull policy|imagePullPolicy")


def sidecar_image_missing(s: Scene) -> Expected:
    image = "ghcr.io/fernhill/log-agnt:1.9.0"
    sidecar = {"name": "log-agent", "image": image, "resources": {}}
    for pod in s.release(lambda spec: spec["containers"].append(sidecar), kinds=("Deployment", "DaemonSet")):
        pull_failure(s.sim, pod, f'rpc error: code = NotFound desc = {_pull("{image}: not found")(image)}', container="log-agent")
    return s.cause("log-agnt:1.9.0", "not found|does not exist|NotFound")


# --- configuration of the container


def _variable(kind: str, name: str, key: str) -> Raw:
    return {"name": "UPSTREAM_MODE", "valueFrom": {f"{kind}KeyRef": {"name": name, "key": key}}}


def config_map_missing(s: Scene) -> Expected:
    s.sim.add("v1", "ConfigMap", f"{s.app}-settings", s.ns, data={"MODE": "x"})
    name = f"{s.app}-setting"
    for pod in s.container(lambda c: c.update(envFrom=[{"configMapRef": {"name": name}}])):
        waiting(s.sim, pod, "CreateContainerConfigError", f'configmap "{name}" not found')
        s.sim.event(pod, "Failed", f'Error: configmap "{name}" not found', count=40)
    return s.cause(f"{name}", "not found|does not exist|missing|no ConfigMap", f"{s.app}-settings")


def config_map_key_missing(s: Scene) -> Expected:
    s.sim.add("v1", "ConfigMap", "runtime-flags", s.ns, data={"UPSTREAM_MODES": "a", "LOG": "b"})
    for pod in s.container(lambda c: c.update(env=[_variable("configMap", "runtime-flags", "UPSTREAM_MODE")])):
        waiting(s.sim, pod, "CreateContainerConfigError", f"couldn't find key UPSTREAM_MODE in ConfigMap {s.ns}/runtime-flags")
        s.sim.event(pod, "Failed", f"Error: couldn't find key UPSTREAM_MODE in ConfigMap {s.ns}/runtime-flags", count=40)
    s.cause("UPSTREAM_MODE", "runtime-flags", of=())
    s.expected.causes[-1] = type(s.expected.causes[-1])((s.ref(s.work), f"ConfigMap/{s.ns}/runtime-flags"), ("UPSTREAM_MODE", "runtime-flags"))
    return s.expected


def secret_missing(s: Scene) -> Expected:
    for pod in s.container(lambda c: c.update(env=[_variable("secret", "broker-login", "password")])):
        waiting(s.sim, pod, "CreateContainerConfigError", 'secret "broker-login" not found')
        s.sim.event(pod, "Failed", 'Error: secret "broker-login" not found', count=40)
    return s.cause("broker-login", "not found|does not exist|missing|no Secret")


def secret_key_missing(s: Scene) -> Expected:
    from tests.support.healthy import secret

    secret(s.sim, s.ns, "broker-login", passwd="zzz", user="app")
    for pod in s.container(lambda c: c.update(env=[_variable("secret", "broker-login", "password")])):
        waiting(s.sim, pod, "CreateContainerConfigError", f"couldn't find key password in Secret {s.ns}/broker-login")
        s.sim.event(pod, "Failed", f"Error: couldn't find key password in Secret {s.ns}/broker-login", count=40)
    return s.cause("password", "broker-login", of=(s.ref(s.work), f"Secret/{s.ns}/broker-login"))


def run_as_root_refused(s: Scene) -> Expected:
    def patch(spec: Raw) -> None:
        spec["securityContext"] = {"runAsNonRoot": True}

    for pod in s.release(patch):
        meta = pod["metadata"]
        said = f'container has runAsNonRoot and image will run as root (pod: "{meta["name"]}_{s.ns}({meta["uid"]})", container: {status_of(pod)["name"]})'
        waiting(s.sim, pod, "CreateContainerConfigError", said)
        s.sim.event(pod, "Failed", f"Error: {said}", count=40)
    return s.cause("runAsNonRoot", "root")


def volume_config_map_missing(s: Scene) -> Expected:
    def patch(spec: Raw) -> None:
        spec["volumes"] = [{"name": "rules", "configMap": {"name": "routing-rules", "defaultMode": 420}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "rules", "mountPath": "/etc/rules"}]

    for pod in s.release(patch):
        creating(s.sim, pod, "FailedMount", 'MountVolume.SetUp failed for volume "rules" : configmap "routing-rules" not found')
    return s.cause("routing-rules", "not found|does not exist|missing|no ConfigMap")


def volume_secret_key_missing(s: Scene) -> Expected:
    from tests.support.healthy import secret

    secret(s.sim, s.ns, "edge-cert", "kubernetes.io/tls", tls__crt="x", tls__key="y")

    def patch(spec: Raw) -> None:
        items = [{"key": "ca.crt", "path": "ca.crt"}]
        spec["volumes"] = [{"name": "trust", "secret": {"secretName": "edge-cert", "items": items, "defaultMode": 420}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "trust", "mountPath": "/etc/trust"}]

    for pod in s.release(patch):
        creating(s.sim, pod, "FailedMount", 'MountVolume.SetUp failed for volume "trust" : references non-existent secret key: ca.crt')
    return s.cause("ca.crt", "edge-cert", of=(s.ref(s.work), f"Secret/{s.ns}/edge-cert"))


def command_missing(s: Scene) -> Expected:
    for pod in s.container(lambda c: c.update(command=["/opt/bin/run-sever", "--port=8080"])):
        said = 'failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "/opt/bin/run-sever": stat /opt/bin/run-sever: no such file or directory'
        crash(s.sim, pod, 128, reason="StartError", message=said)
    return s.cause("run-sever", "no such file|not found")


def command_not_executable(s: Scene) -> Expected:
    for pod in s.container(lambda c: c.update(command=["/scripts/entry.sh"])):
        said = 'failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "/scripts/entry.sh": permission denied'
        crash(s.sim, pod, 128, reason="StartError", message=said)
    return s.cause("/scripts/entry.sh", "permission denied|executable")


def shell_command_missing(s: Scene) -> Expected:
    for pod in s.container(lambda c: c.update(command=["/bin/sh", "-c"], args=["exec gunicron app:main"])):
        crash(s.sim, pod, 127, "/bin/sh: 1: exec: gunicron: not found")
    return s.cause("gunicron", "not found")


def sub_path_missing(s: Scene) -> Expected:
    s.sim.add("v1", "ConfigMap", "proxy-conf", s.ns, data={"proxy.yaml": "a: b"})

    def patch(spec: Raw) -> None:
        spec["volumes"] = [{"name": "conf", "configMap": {"name": "proxy-conf", "defaultMode": 420}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "conf", "mountPath": "/app/proxy.yml", "subPath": "proxy.yml"}]
        spec["containers"][0]["command"] = ["/app/server", "--config=/app/proxy.yml"]

    for pod in s.release(patch):
        crash(s.sim, pod, 1, s.log("loading configuration", "cannot read /app/proxy.yml: is a directory"))
    return s.cause("proxy.yml", "proxy.yaml|subPath|directory")


# --- crashes


def out_of_memory(s: Scene) -> Expected:
    def change(c: Raw) -> None:
        c["resources"] = {"requests": {"memory": "192Mi", "cpu": "50m"}, "limits": {"memory": "192Mi"}}
        c["env"] = [{"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx640m"}]

    for pod in s.container(change):
        crash(s.sim, pod, 137, s.log("warming up caches", "loaded 120000 entries"), reason="OOMKilled", ran=0.8)
    return s.cause("OOM", "192Mi", "640")


def sidecar_out_of_memory(s: Scene) -> Expected:
    sidecar = {"name": "mesh-proxy", "image": "envoyproxy/envoy:v1.33.0", "resources": {"limits": {"memory": "24Mi"}}}
    for pod in s.release(lambda spec: spec["containers"].append(sidecar), kinds=("Deployment",)):
        crash(s.sim, pod, 137, "", reason="OOMKilled", container="mesh-proxy")
    return s.cause("OOM", "24Mi", "mesh-proxy")


def variable_missing(s: Scene) -> Expected:
    for pod in s.release(lambda spec: spec["containers"][0].update(env=[{"name": "PORT", "value": "8080"}])):
        crash(s.sim, pod, 1, s.log("starting", "required environment variable TENANT_REGION is not set"))
    return s.cause("TENANT_REGION", "not set|missing|environment")


def configuration_invalid(s: Scene) -> Expected:
    s.sim.add("v1", "ConfigMap", "pipeline-conf", s.ns, data={"pipeline.yaml": "stages:\n  - name: a\n   retries: 3\n"})

    def patch(spec: Raw) -> None:
        spec["volumes"] = [{"name": "conf", "configMap": {"name": "pipeline-conf", "defaultMode": 420}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "conf", "mountPath": "/etc/pipeline"}]

    for pod in s.release(patch):
        crash(s.sim, pod, 2, s.log("reading /etc/pipeline/pipeline.yaml", "failed to parse /etc/pipeline/pipeline.yaml: yaml: line 3: did not find expected '-' indicator"))
    return s.cause("pipeline.yaml", "line 3|parse", of=(s.ref(s.work), f"ConfigMap/{s.ns}/pipeline-conf"))


def port_privileged(s: Scene) -> Expected:
    def change(c: Raw) -> None:
        c["ports"][0]["containerPort"] = 80

    for pod in s.container(change):
        crash(s.sim, pod, 1, "nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)")
    return s.cause("80", "permission denied", "bind|port")


def read_only_root(s: Scene) -> Expected:
    for pod in s.container(lambda c: c["securityContext"].update(readOnlyRootFilesystem=True)):
        crash(s.sim, pod, 1, s.log("opening cache", "mkdir /var/cache/app: read-only file system"))
    return s.cause("/var/cache/app", "read-only|readOnlyRootFilesystem")


def port_in_use(s: Scene) -> Expected:
    def patch(spec: Raw) -> None:
        spec["containers"].append({"name": "admin", "image": f"{s.sim.registry}/admin:1.0", "resources": {}})

    for pod in s.release(patch, kinds=("Deployment",)):
        crash(s.sim, pod, 1, f"listen tcp :{s.work.port}: bind: address already in use", container="admin")
    return s.cause(str(s.work.port), "address already in use|in use")


# --- probes


def _refused_probe(port: int, path: str) -> str:
    return f'Get "http://10.244.1.7:{port}{path}": dial tcp 10.244.1.7:{port}: connect: connection refused'


def liveness_wrong_port(s: Scene) -> Expected:
    wrong = probe({"httpGet": {"path": "/healthz", "port": 8999, "scheme": "HTTP"}}, delay=10)
    for pod in s.container(lambda c: c.update(livenessProbe=wrong)):
        killed_by_liveness(s.sim, pod, _refused_probe(8999, "/healthz"), log=s.sim.chatter("x", 2))
    return s.cause("liveness", "8999", str(s.work.port))


def liveness_wrong_path(s: Scene) -> Expected:
    wrong = probe({"httpGet": {"path": "/health/livez", "port": "http", "scheme": "HTTP"}}, delay=10)
    for pod in s.container(lambda c: c.update(livenessProbe=wrong)):
        killed_by_liveness(s.sim, pod, "HTTP probe failed with statuscode: 404", log=s.sim.chatter("x", 2) + f"\n{s.sim.ago(2)} GET /health/livez 404")
    return s.cause("liveness", "/health/livez", "404")


def readiness_wrong_port(s: Scene) -> Expected:
    wrong = probe({"httpGet": {"path": "/readyz", "port": 8998, "scheme": "HTTP"}}, delay=3)
    for pod in s.container(lambda c: c.update(readinessProbe=wrong)):
        unready(s.sim, pod, _refused_probe(8998, "/readyz"))
    return s.cause("readiness", "8998", str(s.work.port))


def readiness_wrong_path(s: Scene) -> Expected:
    wrong = probe({"httpGet": {"path": "/redy", "port": "http", "scheme": "HTTP"}}, delay=3)
    for pod in s.container(lambda c: c.update(readinessProbe=wrong), events=True):
        unready(s.sim, pod, "HTTP probe failed with statuscode: 404")
    return s.cause("readiness", "/redy", "404")


def readiness_wrong_scheme(s: Scene) -> Expected:
    wrong = probe({"httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTPS"}}, delay=3)
    for pod in s.container(lambda c: c.update(readinessProbe=wrong), events=True):
        unready(s.sim, pod, f'Get "https://10.244.1.7:{s.work.port}/readyz": http: server gave HTTP response to HTTPS client')
    return s.cause("HTTPS", "HTTP", "readiness")


def startup_too_short(s: Scene) -> Expected:
    slow = probe({"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}}, period=5, failures=3)
    for pod in s.container(lambda c: c.update(startupProbe=slow), events=True):
        killed_by_liveness(s.sim, pod, _refused_probe(s.work.port, "/healthz"), kind="Startup",
            log=f"{s.sim.ago(2.2)} INFO loading model, this takes about 90 s\n{s.sim.ago(2.1)} INFO 12 % loaded")  # fmt: skip
    return s.cause("startup", "15|failureThreshold")


def exec_probe_missing(s: Scene) -> Expected:
    wrong = probe({"exec": {"command": ["/bin/grpc_health_prob", "-addr=:9000"]}}, delay=3)
    for pod in s.container(lambda c: c.update(readinessProbe=wrong), events=True):
        said = 'command "/bin/grpc_health_prob -addr=:9000" failed: OCI runtime exec failed: exec failed: unable to start container process: exec: "/bin/grpc_health_prob": stat /bin/grpc_health_prob: no such file or directory: unknown'
        unready(s.sim, pod, said)
    return s.cause("grpc_health_prob", "readiness", "no such file|not found")


def sandbox_fails(s: Scene) -> Expected:
    """The CNI agent of one node is down: pods there get no network."""
    victim = s.sim.nodes()[0]
    for agent in s.sim.pods("kube-system", "cilium"):
        if agent["spec"]["nodeName"] == victim:
            crash(s.sim, agent, 1, 'level=fatal msg="failed to start: unable to initialize BPF datapath: bpffs is not mounted at /sys/fs/bpf"')
    for pod in s.release(lambda spec: spec.update(terminationGracePeriodSeconds=20), kinds=("Deployment",), events=True):
        pod["spec"]["nodeName"] = victim
        creating(s.sim, pod, "FailedCreatePodSandBox", 'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "d3a1b2": plugin type="cilium-cni" failed (add): unable to connect to Cilium agent: failed to create cilium agent client after 30.000000 seconds timeout: Get "http://localhost/v1/config": dial unix /var/run/cilium/cilium.sock: connect: no such file or directory')
    return s.cause("cilium", of=("DaemonSet/kube-system/cilium", f"Node//{victim}", s.ref(s.work)))


MUTATIONS: tuple[Callable[[Scene], Expected], ...] = (
    image_tag_missing, image_repository_denied, image_unauthorized, pull_secret_missing, registry_name_unknown,
    registry_unreachable, registry_certificate, registry_rate_limit, image_wrong_platform, exec_format,
    image_name_invalid, image_never_pull, sidecar_image_missing, config_map_missing, config_map_key_missing,
    secret_missing, secret_key_missing, run_as_root_refused, volume_config_map_missing, volume_secret_key_missing,
    command_missing, command_not_executable, shell_command_missing, sub_path_missing, out_of_memory,
    sidecar_out_of_memory, variable_missing, configuration_invalid, port_privileged, read_only_root, port_in_use,
    liveness_wrong_port, liveness_wrong_path, readiness_wrong_port, readiness_wrong_path, readiness_wrong_scheme,
    startup_too_short, exec_probe_missing, sandbox_fails,
)  # fmt: skip
