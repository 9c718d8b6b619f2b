"""What the plugin counts on in vLLM: a new vLLM fails here first, and says where.

The sources are parsed, not imported, so this takes a second on any machine.
"""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

FUNCTIONS = {
    "v1/executor/multiproc_executor.py": {
        "MultiprocExecutor._init_executor": ["self"],
        "MultiprocExecutor.shutdown": ["self"],
        "MultiprocExecutor.start_worker_monitor": ["self", "inline"],
        "MultiprocExecutor.collective_rpc": [
            "self",
            "method",
            "timeout",
            "args",
            "kwargs",
            "non_block",
            "unique_reply_rank",
            "kv_output_aggregator",
        ],
        "MultiprocExecutor._ensure_worker_termination": ["worker_procs"],
        "WorkerProc.make_worker_process": [
            "vllm_config",
            "local_rank",
            "rank",
            "distributed_init_method",
            "input_shm_handle",
            "shared_worker_lock",
            "is_driver_worker",
            "inherited_fds",
        ],
        "WorkerProc.worker_main": [],
        "WorkerProc.worker_busy_loop": ["self"],
    },
    "entrypoints/anthropic/serving.py": {
        "AnthropicServingMessages.create_messages": ["self", "request", "raw_request"],
        "AnthropicServingMessages.count_tokens": ["self", "request", "raw_request"],
    },
    # It reads a head's weight past the head's kernel only where the types differ.
    "model_executor/layers/logits_processor.py": {
        "LogitsProcessor._apply_head": ["self", "lm_head", "hidden_states", "embedding_bias"],
    },
    "v1/executor/abstract.py": {
        "Executor.initialize_from_config": ["self", "kv_cache_configs"],
    },
    "v1/worker/gpu_model_runner.py": {
        "GPUModelRunner.capture_model": ["self"],
        "GPUModelRunner.sample_tokens": ["self", "grammar_output"],
        "GPUModelRunner._model_forward": [
            "self",
            "input_ids",
            "positions",
            "intermediate_tensors",
            "inputs_embeds",
        ],
        "GPUModelRunner._sample": ["self", "logits", "spec_decode_metadata"],
    },
    "v1/worker/gpu/model_runner.py": {"GPUModelRunner.capture_model": ["self"]},
    "utils/ompmultiprocessing.py": {
        "OMPProcessManager.configure_omp_envs": ["self", "rank", "local_rank"],
    },
    "distributed/parallel_state.py": {
        "GroupCoordinator.__init__": [
            "self",
            "group_ranks",
            "local_rank",
            "torch_distributed_backend",
            "use_device_communicator",
            "use_message_queue_broadcaster",
            "group_name",
        ],
        "GroupCoordinator.isend_tensor_dict": [
            "self",
            "tensor_dict",
            "dst",
            "all_gather_group",
            "all_gather_tensors",
        ],
        "GroupCoordinator.irecv_tensor_dict": [
            "self",
            "src",
            "all_gather_group",
            "all_gather_tensors",
        ],
        "GroupCoordinator.send_object": ["self", "obj", "dst"],
        "GroupCoordinator.recv_object": ["self", "src"],
        "GroupCoordinator.create_mq_broadcaster": [
            "self",
            "writer_rank",
            "external_writer_handle",
            "blocking",
        ],
        "_get_unique_name": ["name"],
        "_register_group": ["group"],
    },
    "lora/ops/torch_ops/lora_ops.py": {
        "bgmv_shrink": [
            "inputs",
            "lora_b_weights",
            "output_tensor",
            "lora_indices_tensor",
            "scaling",
        ],
        "bgmv_expand": [
            "inputs",
            "lora_b_weights",
            "output_tensor",
            "lora_indices_tensor",
            "add_inputs",
        ],
    },
    "model_executor/layers/attention/attention.py": {
        "_largest_kernel_block_within": [
            "attn_backend",
            "per_token_bytes",
            "page_budget",
            "fallback",
        ],
    },
    "v1/worker/gpu_worker.py": {
        "Worker.__init__": [
            "self",
            "vllm_config",
            "local_rank",
            "rank",
            "distributed_init_method",
            "is_driver_worker",
        ],
        "Worker.execute_model": ["self", "scheduler_output"],
        "Worker.sample_tokens": ["self", "grammar_output"],
    },
    "v1/worker/cpu_worker.py": {
        "CPUWorker.__init__": [
            "self",
            "vllm_config",
            "local_rank",
            "rank",
            "distributed_init_method",
            "is_driver_worker",
        ],
        "CPUWorker.init_device": ["self"],
        "CPUWorker.determine_available_memory": ["self"],
        "CPUWorker.compile_or_warm_up_model": ["self"],
    },
    "v1/core/sched/scheduler.py": {
        "Scheduler.schedule": ["self", "throttle_prefills"],
        "Scheduler.update_from_output": ["self", "scheduler_output", "model_runner_output"],
    },
    "v1/engine/core.py": {"EngineCore.step_with_batch_queue": ["self"]},
    "platforms/interface.py": {
        "Platform.pre_register_and_update": ["cls", "parser"],
        "Platform.check_and_update_config": ["cls", "vllm_config"],
    },
    "platforms/cpu.py": {
        "CpuPlatform.check_and_update_config": ["cls", "vllm_config"],
        "CpuPlatform.import_kernels": ["cls"],
    },
    "model_executor/layers/utils.py": {
        "dispatch_cpu_unquantized_gemm": ["layer", "remove_weight"],
        "cpu_unquantized_gemm": ["layer", "x", "weight", "bias"],
    },
    "model_executor/model_loader/weight_utils.py": {
        "initialize_dummy_weights": ["model", "model_config", "low", "high", "seed"],
        "initialize_single_dummy_weight": ["param", "low", "high", "seed"],
    },
    "model_executor/model_loader/utils.py": {
        "process_weights_after_loading": ["model", "model_config", "target_device"],
    },
    "model_executor/model_loader/dummy_loader.py": {
        "DummyModelLoader.load_weights": ["self", "model", "model_config"],
        "DummyModelLoader._process_online_quant_layer": ["self", "layer", "info"],
    },
    "_custom_ops.py": {
        "create_onednn_mm": ["weight", "primitive_cache_size"],
        "onednn_mm": ["dnnl_handler", "x", "bias"],
    },
    "utils/cpu_resource_utils.py": {
        "get_memory_node_info": ["node_id"],
        "get_visible_memory_node": [],
    },
    "config/kernel.py": {"KernelConfig.set_platform_defaults": ["self", "vllm_config"]},
    "distributed/utils.py": {
        "get_pp_indices": ["num_hidden_layers", "pp_rank", "pp_size"],
        "get_cpu_distributed_timeout_or_none": [],
        "get_distributed_timeout_or_none": [],
    },
}

MENTIONS = {
    "entrypoints/serve/engine/serving.py": ["def create_error_response("],
    "entrypoints/openai/cli_args.py": ['frontend_kwargs["middleware"]["action"] = "append"'],
    "entrypoints/serve/elastic_ep/api_router.py": ['"/scale_elastic_ep"'],
    # The end of a message, by which the middleware knows a client's error.
    "exceptions.py": ['extras.append(f"parameter={self.parameter}")'],
    "envs.py": ["VLLM_PP_LAYER_PARTITION", "VLLM_USE_V2_MODEL_RUNNER", "VLLM_RPC_BASE_PATH"],
    "v1/executor/multiproc_executor.py": [
        "OMPProcessManager(self.vllm_config)",
        "target=WorkerProc.worker_main",
        "worker = WorkerProc(*args, **kwargs)",
        "partial(cloudpickle.loads(method), self.worker)",
        'name=f"VllmWorker-{rank}"',
    ],
    "distributed/device_communicators/shm_broadcast.py": ["self.shutting_down = True"],
    "distributed/device_communicators/cpu_communicator.py": [
        'return f"{instance_identifier}-{shm_group_identifier}-cpushm"',
    ],
    "v1/worker/cpu_worker.py": [
        # What keeps a CPU rank's threads as they are after its start.
        "torch.set_num_threads = skip_set_num_threads",
        'os.environ["VLLM_DIST_IDENT"] = self.distributed_init_method.split(":")[-1]',
    ],
    # Between loading and processing weights they can be counted.
    "model_executor/model_loader/base_loader.py": [
        "            process_weights_after_loading(model, model_config, target_device)",
    ],
    "model_executor/layers/fused_moe/routed_experts.py": ["class RoutedExperts("],
    "model_executor/layers/vocab_parallel_embedding.py": [
        "class ParallelLMHead(VocabParallelEmbedding):",
        "import dispatch_cpu_unquantized_gemm",
    ],
    # What /metrics shows.
    "v1/metrics/prometheus.py": [
        "multiprocess.MultiProcessCollector(registry)",
        "return REGISTRY",
    ],
    "v1/core/sched/output.py": ["total_num_scheduled_tokens: int"],
    "config/cache.py": ["user_specified_block_size", "kv_cache_memory_bytes"],
    "v1/worker/gpu_model_runner.py": [
        # Steps go through these two, and warming up does not go through the first.
        "model_output = self._model_forward(\n                input_ids=input_ids,",
        "positions=positions,",
        "logits = self.model.compute_logits(sample_hidden_states)",
        "def sync_and_gather_intermediate_tensors",
        "self.model_memory_usage = m.consumed_memory",
        "self.kv_cache_config = kv_cache_config",
        # Rows whose token is thrown away, and what vLLM then does to their generators.
        "self.discard_request_mask.np[:num_reqs]",
        "gen.set_offset(gen.get_offset() - 4)",
    ],
    "v1/worker/gpu_input_batch.py": ["generators=self.generators"],
    "v1/worker/gpu/model_runner.py": [
        "self.model_memory_usage = m.consumed_memory",
        "self.kv_cache_config = kv_cache_config",
    ],
    "v1/worker/gpu_worker.py": [
        "self.peak_activation_memory = profile_result.torch_peak_increase",
        "self.non_torch_memory = profile_result.non_torch_increase",
        "cuda_graph_memory_bytes = self.model_runner.capture_model()",
        "self.init_snapshot = init_snapshot = MemorySnapshot(device=self.device)",
    ],
    "v1/kv_cache_interface.py": ["kv_cache_tensors: list[KVCacheTensor]", "num_blocks: int"],
    "v1/core/sched/scheduler.py": [
        "token_budget = self.max_num_scheduled_tokens",
        "if 0 < self.scheduler_config.long_prefill_token_threshold < num_new_tokens",
        "threshold = self.scheduler_config.long_prefill_token_threshold",
        "request.is_prefill_chunk = request.num_computed_tokens <",
    ],
    "platforms/__init__.py": ["PLATFORM_PLUGINS_GROUP"],
    # Imported where they are called, so that a patch of the module is seen.
    "model_executor/layers/linear.py": ["import dispatch_cpu_unquantized_gemm"],
}


@cache
def vllm_root() -> Path:
    spec = find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def functions(file: Path) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions of a module by qualified name; of several of one name, the last."""
    found: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, _FUNCTION):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, _FUNCTION):
                    found[f"{node.name}.{member.name}"] = member
    return found


@pytest.mark.parametrize(
    ("file", "name", "parameters"),
    [(file, name, p) for file, names in FUNCTIONS.items() for name, p in names.items()],
)
def test_functions_take_what_the_plugin_gives(file: str, name: str, parameters: list[str]) -> None:
    found = functions(vllm_root() / file).get(name)
    assert found is not None, f"{file} has no {name}"
    assert [argument.arg for argument in found.args.args] == parameters


@pytest.mark.parametrize(
    ("file", "text"), [(file, text) for file, texts in MENTIONS.items() for text in texts]
)
def test_sources_still_mention(file: str, text: str) -> None:
    assert text in (vllm_root() / file).read_text(encoding="utf-8")


def assigned_attributes(function: ast.FunctionDef) -> set[str]:
    """Names assigned as ``self.NAME``."""
    names = set()
    for node in ast.walk(function):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
                names.add(target.attr)
    return names


def test_our_groups_set_every_attribute_that_vllms_set() -> None:
    theirs = functions(vllm_root() / "distributed/parallel_state.py")["GroupCoordinator.__init__"]
    spec = find_spec("vllm_hetero")
    assert spec is not None
    assert spec.origin is not None
    ours = functions(Path(spec.origin).parent / "groups.py")
    own_class = "HeterogeneousGroupCoordinator"
    mine = assigned_attributes(ours[f"{own_class}.__init__"])
    mine |= assigned_attributes(ours[f"{own_class}._make_groups"])
    assert assigned_attributes(theirs) - mine == set()
