"""Which module and name of ours each of the reference's is. Data only; the finder reads it."""

from __future__ import annotations

from shoal.compat.rllib_table import RLLIB, RLLIB_SAME_AS
from shoal.compat.sources import Source
from shoal.compat.sources import of as _of

ROOT = "ray"


# Libraries with the reference's own layout: ray.data.x is shoal.data.x, as far as that is there.
BY_RULE = frozenset(
    {
        "air",
        "autoscaler",
        "cluster_utils",
        "dag",
        "data",
        "experimental",
        "rllib",
        "serve",
        "train",
        "tune",
        "util",
    }
)

_IDS = _of("shoal", "ActorID JobID NodeID PlacementGroupID TaskID WorkerID ObjectID=ObjectRef ObjectRef")
_MORE_IDS = _of("shoal.compat.identifiers", "ActorClassID FunctionID UniqueID Language")
_GROUPS = _of(
    "shoal",
    "PlacementGroup get_current_placement_group get_placement_group placement_group placement_group_table",
    "remove_placement_group",
)
_STREAMS = _of("shoal", "DynamicObjectRefGenerator ObjectRefGenerator")
_ACTOR = _of("shoal", "ActorClass ActorHandle ActorMethod exit_actor method")
_CLIENT = _of(
    "shoal.compat.client", "ClientBuilder ClientContext=SessionContext client", "connect disconnect"
)
_AIR = _of("shoal.train", "ScalingConfig")

MODULES: dict[str, tuple[Source, ...]] = {
    "ray": (
        _IDS,
        _MORE_IDS,
        _STREAMS,
        _of("shoal", "available_resources cluster_resources get get_actor get_gpu_ids get_runtime_context"),
        _of("shoal", "is_initialized kill method nodes put remote timeline"),
        _of("shoal.compat.calls", "cancel shutdown wait"),
        _of("shoal.compat.session", "init __version__ __commit__"),
        _of("shoal.compat.identifiers", "LOCAL_MODE SCRIPT_MODE WORKER_MODE"),
        _of("shoal.compat.logging_config", "LoggingConfig"),
        _of("shoal.compat.client", "ClientBuilder client"),
    ),
    # Private, but libraries take this from there.
    "ray._private": (),  # has sub-modules only
    "ray._private.services": (_of("shoal.util", "get_node_ip_address"),),
    "ray._raylet": (_IDS, _MORE_IDS, _STREAMS),
    "ray.actor": (_ACTOR, _of("shoal.compat.calls", "ActorClassInheritanceException")),
    "ray.client_builder": (_CLIENT,),
    "ray.dag.base": (_of("shoal.interfaces.graphs", "DAGNodeBase=GraphNode"),),
    "ray.dag.compiled_dag_node": (
        _of("shoal.dag", "CompiledDAG build_compiled_dag_from_ray_dag=build_compiled_dag"),
    ),
    "ray.data": (
        _of("shoal.data"),
        _of("shoal.data", "DatasetContext=DataContext DatasetIterator=DataIterator"),
        _of("shoal.data.context", "NodeIdStr"),
    ),
    "ray.data.aggregate": (_of("shoal.data.aggregate"), _of("shoal.data.own_aggregates")),
    "ray.data.block": (
        _of("shoal.data.block"),
        _of("shoal.data.access"),
        _of("shoal.data.block_stats"),
        _of("shoal.data", "BlockMetadata"),
    ),
    "ray.data.context": (_of("shoal.data.context"), _of("shoal.data", "ExecutionResources")),
    "ray.data.exceptions": (_of("shoal.data.exceptions"),),
    "ray.data.dataset": (_of("shoal.data", "Dataset MaterializedDataset Schema"),),
    "ray.data.util": (),  # has sub-modules only
    "ray.data.util.data_batch_conversion": (_of("shoal.data.access", "BatchFormat"),),
    "ray.data.util.torch_inference": (_of("shoal.data.torch_inference"),),
    "ray.data.datasource": (
        _of(
            "shoal.data",
            "BlockMetadata Datasink Datasource FileShuffleConfig Partitioning ReadTask SaveMode WriteResult",
        ),
        _of("shoal.data.partitions", "PartitionStyle PathPartitionFilter PathPartitionParser"),
        _of("shoal.data.sinks.datasink", "DummyOutputDatasink WriteReturnType"),
        _of("shoal.data.sinks.files", "FilenameProvider"),
        _of("shoal.data.sinks.own_files", "BlockBasedFileDatasink RowBasedFileDatasink"),
        _of("shoal.data.sources.datasource", "Reader"),
        _of("shoal.data.sources.memory", "RandomIntRowDatasource"),
        _of("shoal.data.sources.scientific", "TimeRange"),
        _of("shoal.data.sources.own_files", "FileBasedDatasource FileMetadataProvider"),
        _of("shoal.data.sources.own_files", "BaseFileMetadataProvider DefaultFileMetadataProvider"),
    ),
    "ray.data.preprocessors.utils": (
        _of("shoal.data.preprocessors.defaults", "simple_hash simple_split_tokenizer"),
    ),
    "ray.data.grouped_data": (_of("shoal.data", "GroupedData GroupedDataset=GroupedData"),),
    "ray.exceptions": (_of("shoal.compat.exceptions"),),
    "ray.experimental": (_of("shoal.tensors", "wait_tensor_freed"),),
    "ray.experimental.channel": (),  # has sub-modules only
    "ray.experimental.channel.auto_transport_type": (_of("shoal.dag.tensors", "AutoTransportType"),),
    "ray.experimental.channel.torch_tensor_type": (_of("shoal.dag", "TorchTensorType"),),
    "ray.experimental.collective": (
        _of("shoal.util.collective.handles", "CommunicatorHandle=CollectiveHandle create_collective_group"),
        _of("shoal.util.collective.handles", "get_collective_groups destroy_collective_group"),
        _of("shoal.util.collective.handles", "destroy_all_collective_groups"),
    ),
    "ray.experimental.compiled_dag_ref": (_of("shoal.dag", "CompiledDAGFuture CompiledDAGRef"),),
    "ray.experimental.tqdm_ray": (_of("shoal.util.tqdm", "tqdm"),),
    "ray.internal": (_of("shoal", "free"),),
    "ray.internal.internal_api": (_of("shoal", "free"),),
    "ray.job_config": (_of("shoal.compat.job_config", "JobConfig"),),
    "ray.remote_function": (_of("shoal", "RemoteFunction"),),
    "ray.runtime_context": (_of("shoal", "RuntimeContext get_runtime_context"),),
    "ray.job_submission": (_of("shoal.jobs"),),
    "ray.runtime_env": (_of("shoal.compat.runtime_env", "RuntimeEnv RuntimeEnvConfig"),),
    "ray.serve.exceptions": (
        _of("shoal.serve.exceptions"),
        _of("shoal.serve.exceptions", "RayServeException=ServeError"),
    ),
    "ray.serve.context": (
        _of("shoal.serve.context"),
        _of("shoal.serve.companions", "DeploymentActorContext"),
    ),
    "ray.serve.schema": (
        _of("shoal.serve.schema"),
        _of("shoal.serve.details"),
        _of("shoal.serve.queues", "CeleryAdapterConfig TaskProcessorAdapter TaskProcessorConfig TaskResult"),
    ),
    "ray.serve.task_consumer": (
        _of("shoal.serve.queues", "instantiate_adapter_from_config task_consumer task_handler"),
    ),
    "ray.serve.task_processor": (_of("shoal.serve.queues.celery_adapter", "CeleryTaskProcessorAdapter"),),
    "ray.serve.dag": (_of("shoal.dag", "InputNode"),),
    "ray.serve.experimental": (),  # has sub-modules only
    "ray.serve.experimental.consistent_hash_router": (
        _of("shoal.serve.routers.others", "ConsistentHashRouter"),
    ),
    "ray.serve.experimental.round_robin_router": (_of("shoal.serve.routers.others", "RoundRobinRouter"),),
    "ray.train.backend": (_of("shoal.train.backend", "Backend BackendConfig"),),
    "ray.train.base_trainer": (
        _of("shoal.train.trainer", "BaseTrainer=DataParallelTrainer format_datasets_for_repr"),
    ),
    "ray.train.data_parallel_trainer": (_of("shoal.train", "DataParallelTrainer"),),
    "ray.train.error": (_of("shoal.train", "SessionMisuseError"),),
    "ray.train.huggingface.transformers": (
        _of("shoal.train.huggingface.transformers", "RayTrainReportCallback=ReportCallback prepare_trainer"),
    ),
    "ray.train.lightgbm": (
        _of("shoal.train.lightgbm", "LightGBMCheckpoint LightGBMConfig LightGBMTrainer get_network_params"),
        _of("shoal.train.lightgbm", "RayTrainReportCallback=ReportCallback normalize_pandas_for_lightgbm"),
    ),
    "ray.train.lightning": (
        _of("shoal.train.lightning", "RayDDPStrategy=DDPStrategy RayDeepSpeedStrategy=DeepSpeedStrategy"),
        _of("shoal.train.lightning", "RayFSDPStrategy=FSDPStrategy prepare_trainer"),
        _of("shoal.train.lightning", "RayLightningEnvironment=LightningEnvironment"),
        _of("shoal.train.lightning", "RayTrainReportCallback=ReportCallback"),
    ),
    "ray.train.torch.train_loop_utils": (_of("shoal.train.torch"),),
    "ray.train.v2.api.callback": (
        _of("shoal.train.callbacks", "RayTrainCallback=UserCallback UserCallback"),
    ),
    "ray.train.v2.api.data_parallel_trainer": (_of("shoal.train", "DataParallelTrainer"),),
    "ray.train.v2.jax": (_of("shoal.train.jax", "JaxConfig JaxTrainer"),),
    "ray.train.xgboost": (
        _of("shoal.train.xgboost", "XGBoostCheckpoint XGBoostConfig XGBoostTrainer"),
        _of("shoal.train.xgboost", "RayTrainReportCallback=ReportCallback"),
    ),
    "ray.air": (_of("shoal.tune", "CheckpointConfig FailureConfig Result RunConfig"), _AIR),
    "ray.air.config": (_of("shoal.tune", "CheckpointConfig FailureConfig RunConfig"), _AIR),
    "ray.air.integrations": (),  # has sub-modules only
    "ray.air.integrations.mlflow": (_of("shoal.tune.logger.trackers", "MLflowLoggerCallback"),),
    "ray.air.integrations.wandb": (_of("shoal.tune.logger.trackers", "WandbLoggerCallback"),),
    "ray.air.result": (_of("shoal.tune", "Result"),),
    "ray.tune.context": (_of("shoal.tune", "TuneContext get_context"),),
    "ray.tune.error": (_of("shoal.tune", "TuneError"),),
    "ray.tune.execution": (),  # has sub-modules only
    "ray.tune.execution.placement_groups": (_of("shoal.tune.resources"),),
    "ray.tune.impl": (),  # has sub-modules only
    "ray.tune.impl.config": (_of("shoal.tune", "CheckpointConfig FailureConfig RunConfig"),),
    "ray.tune.logger.mlflow": (_of("shoal.tune.logger.trackers", "MLflowLoggerCallback"),),
    "ray.tune.logger.wandb": (_of("shoal.tune.logger.trackers", "WandbLoggerCallback"),),
    "ray.tune.search.searcher": (
        _of("shoal.tune.search.searcher"),
        _of("shoal.tune.search", "ConcurrencyLimiter"),
    ),
    "ray.tune.syncer": (_of("shoal.tune", "SyncConfig"),),
    "ray.tune.trainable.util": (_of("shoal.tune", "with_parameters with_resources"),),
    "ray.tune.tune": (_of("shoal.tune", "run"),),
    "ray.tune.tune_config": (_of("shoal.tune", "ResumeConfig TuneConfig"),),
    "ray.tune.utils": (_of("shoal.tune.tools"),),
    "ray.tune.utils.file_transfer": (_of("shoal.tune.tools.file_transfer"),),
    "ray.tune.utils.log": (_of("shoal.tune.tools.log"),),
    "ray.tune.utils.serialization": (_of("shoal.tune.tools.serialization"),),
    "ray.tune.utils.util": (_of("shoal.tune.tools.running"),),
    "ray.types": (_of("shoal", "ObjectRef"),),
    "ray.util": (
        _of("shoal.util"),
        _of("shoal.compat.client", "connect disconnect"),
    ),
    "ray.util.annotations": (_of("shoal.compat.stability"),),
    "ray.util.check_serialize": (_of("shoal.util.serializability"),),
    "ray.util.client_connect": (_of("shoal.compat.client", "connect disconnect"),),
    "ray.util.dask": (
        _of("shoal.util.dask", "ProgressBarCallback RayDaskCallback local_ray_callbacks"),
        _of("shoal.util.dask", "dataframe_optimize unpack_ray_callbacks"),
        _of("shoal.util.dask", "ray_dask_get=shoal_dask_get ray_dask_get_sync=shoal_dask_get_sync"),
        _of("shoal.util.dask", "ray_dask_persist=shoal_dask_persist enable_dask_on_ray=enable_dask"),
        _of("shoal.util.dask", "disable_dask_on_ray=disable_dask"),
    ),
    "ray.util.debug": (_of("shoal.util.logging_once"), _of("shoal.util.leaks")),
    "ray.util.debugpy": (_of("shoal.debug", "set_trace"),),
    "ray.util.helpers": (_of("shoal.util.completion"),),
    "ray.util.joblib": (_of("shoal.util.joblib", "register_ray=register_shoal"),),
    "ray.util.placement_group": (_GROUPS,),
    "ray.util.rpdb": (_of("shoal.debug", "set_trace"),),
    "ray.util.scheduling_strategies": (_of("shoal.util.scheduling_strategies"),),
    "ray.util.serialization": (
        _of("shoal", "register_serializer deregister_serializer"),
        _of("shoal.compat.serializers", "StandaloneSerializationContext"),
    ),
    "ray.util.serialization_addons": (
        _of("shoal.compat.serializers", "apply register_starlette_serializer"),
    ),
    "ray.util.state": (_of("shoal.util.state"),),
    "ray.util.state.common": (_of("shoal.state.records"), _of("shoal.state.requests")),
    "ray.util.state.exception": (_of("shoal.state.failures"),),
    "ray.util.tracing": (_of("shoal.util.tracing"),),
    "ray.util.tracing.setup_local_tmp_tracing": (_of("shoal.util.tracing.local_files", "setup_tracing"),),
    **RLLIB,
    "ray.worker": (
        _of("shoal", "get kill put remote"),
        _of("shoal.compat.calls", "wait cancel shutdown"),
        _of("shoal.compat.session", "init"),
    ),
}

# Further paths of modules above, or of modules that the rule finds.
SAME_AS: dict[str, str] = {
    "ray.autoscaler.sdk.sdk": "ray.autoscaler.sdk",
    "ray.dag.class_node": "ray.dag",
    "ray.dag.context": "ray.dag",
    "ray.dag.dag_node": "ray.dag",
    "ray.dag.function_node": "ray.dag",
    "ray.dag.input_node": "ray.dag",
    "ray.dag.output_node": "ray.dag",
    "ray.dag.vis_utils": "ray.dag",
    "ray.experimental.multiprocessing": "ray.util.multiprocessing",
    "ray.experimental.multiprocessing.pool": "ray.util.multiprocessing",
    "ray.experimental.queue": "ray.util.queue",
    "ray.runtime_env.runtime_env": "ray.runtime_env",
    "ray.tune.analysis.experiment_analysis": "ray.tune.analysis",
    "ray.tune.experiment.experiment": "ray.tune.experiment",
    "ray.tune.logger.csv": "ray.tune.logger",
    "ray.tune.logger.json": "ray.tune.logger",
    "ray.tune.logger.tensorboardx": "ray.tune.logger",
    "ray.tune.stopper.experiment_plateau": "ray.tune.stopper",
    "ray.tune.stopper.function_stopper": "ray.tune.stopper",
    "ray.tune.stopper.maximum_iteration": "ray.tune.stopper",
    "ray.tune.stopper.noop": "ray.tune.stopper",
    "ray.tune.stopper.timeout": "ray.tune.stopper",
    "ray.tune.stopper.trial_plateau": "ray.tune.stopper",
    "ray.util.collective.backend_registry": "ray.util.collective",
    "ray.util.collective.collective": "ray.util.collective",
    "ray.util.dask.optimizations": "ray.util.dask",
    "ray.util.dask.scheduler": "ray.util.dask",
    "ray.util.multiprocessing.pool": "ray.util.multiprocessing",
    "ray.util.state.api": "ray.util.state",
    **RLLIB_SAME_AS,
}
