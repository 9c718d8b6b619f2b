"""The Kubernetes manifest: valid for the schemas, with all that ranks need and no more."""

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given

from hetctl.launch.emit import container
from hetctl.launch.emit.kubernetes import kubernetes_manifest
from hetctl.launch.emit.settings import ServiceSettings, service_name
from hetctl.launch.server import STOP_GRACE_S
from hetctl.plan import Plan
from hetctl.units import GIB
from tests.bench import sample
from tests.launch.emit.samples import cpu_service, few, service, services

VERSIONS = ("1.32", "1.37")
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def documents(settings: ServiceSettings) -> dict[str, Any]:
    found = yaml.safe_load_all(kubernetes_manifest(settings))
    return {document["kind"]: document for document in found}


def pod(settings: ServiceSettings) -> Any:
    return documents(settings)["Deployment"]["spec"]["template"]["spec"]


def expanded(argument: str) -> str:
    """As the kubelet puts variables into arguments (third_party/forked/golang/expansion)."""
    return re.sub(r"\$(\$|\([^)]*\))", lambda found: "$" if found[1] == "$" else "?", argument)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "settings", [service(), cpu_service(), service(plan_file=Path("/etc/plan.json"))]
)
def test_every_document_is_valid(version: str, settings: ServiceSettings) -> None:
    for document in documents(settings).values():
        kubernetes_validate.validate(document, version, strict=True)


@few
@given(services())
def test_every_argument_comes_back(settings: ServiceSettings) -> None:
    found = documents(settings)
    (main,) = pod(settings)["containers"]
    assert [expanded(word) for word in main["args"]] == container.arguments(settings)
    assert expanded(main["env"][0]["value"]) == settings.variables["VLLM_HETERO_SCHEDULER"]
    for document in found.values():
        name = document["metadata"]["name"]
        assert _NAME.fullmatch(name)
        assert len(name) <= 63


def test_it_asks_for_the_gpus_cpus_and_memory_of_the_plan() -> None:
    (main,) = pod(service())["containers"]
    amounts = main["resources"]["limits"]
    rank = sample.hybrid_plan().ranks[0]
    assert amounts["nvidia.com/gpu"] == "1"
    assert amounts["cpu"] == str(len(rank.cpus) + 2)
    assert int(amounts["memory"].removesuffix("Gi")) * GIB >= rank.used_bytes + 4 * GIB
    assert main["resources"]["requests"] == amounts
    (main,) = pod(cpu_service())["containers"]
    assert "nvidia.com/gpu" not in main["resources"]["limits"]


def test_a_pod_plans_with_the_decision_and_its_own_cpus() -> None:
    (main,) = pod(service())["containers"]
    model, *decision = main["args"][1:5]
    assert model == "org/tiny-8b"
    assert decision == ["--devices=cpu,cuda:0", "--cpu-ranks=1", "--split=8,24"]
    assert "ConfigMap" not in documents(service())


def test_a_given_plan_goes_along_with_the_gpus_counted_from_0() -> None:
    plan = sample.plan(
        sample.rank(0, "cuda:3", (0, 8), 22), sample.rank(1, "cuda:1", (8, 32), 22), strategy="gpu"
    )
    found = documents(service(plan=plan, plan_file=Path("/etc/plan.json")))
    inside = Plan.parse(found["ConfigMap"]["data"]["plan.json"], "plan.json")
    assert inside.devices == ("cuda:1", "cuda:0")
    assert inside.ranks[0].layers == plan.ranks[0].layers
    (main,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert "--plan=/etc/hetctl/plan.json" in main["args"]
    assert main["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_a_model_folder_is_looked_for_in_the_volume_and_keeps_its_name() -> None:
    folder = Path("/srv/models/tiny")
    settings = service(
        plan=sample.hybrid_plan().model_copy(update={"model": str(folder)}), model_folder=folder
    )
    words = pod(settings)["containers"][0]["args"]
    assert words[1] == "/models/tiny"
    assert words[-2:] == ["--", "--served-model-name=/srv/models/tiny"]


def test_a_key_is_required_and_is_the_cluster_s() -> None:
    text = kubernetes_manifest(service(api_key_file=Path("/home/alice/key")))
    assert "/home/alice/key" not in text
    found = pod(service())
    assert "--api-key-file=/run/secrets/hetctl/api-key" in found["containers"][0]["args"]
    (secret,) = [v["secret"] for v in found["volumes"] if "secret" in v]
    assert secret["secretName"] == "hetctl-tiny-8b"


def test_ranks_may_bind_memory_and_share_it() -> None:
    found = pod(service())
    assert found["containers"][0]["securityContext"]["capabilities"]["add"] == ["SYS_NICE"]
    mounts = {mount["mountPath"]: mount["name"] for mount in found["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in found["volumes"]}
    assert volumes[mounts["/dev/shm"]]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}


def test_it_waits_longer_than_hetctl_does_itself() -> None:
    found = pod(service(start_timeout_s=600.0, drain_timeout_s=90.0))
    assert found["terminationGracePeriodSeconds"] > 90 + STOP_GRACE_S
    probe = found["containers"][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > 600


def test_a_service_named_as_an_option_s_variable_does_not_set_it() -> None:
    assert service_name("serve") == "hetctl-serve"
    assert pod(service())["enableServiceLinks"] is False


def test_names_are_those_of_models() -> None:
    assert service_name("meta-llama/Llama-3.1-8B") == "hetctl-llama-3-1-8b"
    assert service_name("/srv/Café Modèle/") == "hetctl-cafe-modele"
    assert service_name("日本") == "hetctl-model"
    assert len(service_name("x" * 200)) <= 63


def test_the_schemas_refuse_what_is_wrong() -> None:
    document = documents(service())["Deployment"]
    wrong = json.loads(json.dumps(document))
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)
