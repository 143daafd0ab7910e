from taskqueuex.app import (
    App as App,
)
from taskqueuex.app import (
    ArgumentError as ArgumentError,
)
from taskqueuex.app import (
    Backoff as Backoff,
)
from taskqueuex.app import (
    Context as Context,
)
from taskqueuex.app import (
    DecryptionError as DecryptionError,
)
from taskqueuex.app import (
    Handle as Handle,
)
from taskqueuex.app import (
    KeyRing as KeyRing,
)
from taskqueuex.app import (
    Middleware as Middleware,
)
from taskqueuex.app import (
    Reject as Reject,
)
from taskqueuex.app import (
    Release as Release,
)
from taskqueuex.app import (
    ResultTimeout as ResultTimeout,
)
from taskqueuex.app import (
    Retry as Retry,
)
from taskqueuex.app import (
    Signature as Signature,
)
from taskqueuex.app import (
    Task as Task,
)
from taskqueuex.app import (
    TaskCancelled as TaskCancelled,
)
from taskqueuex.app import (
    TaskDefinitionError as TaskDefinitionError,
)
from taskqueuex.app import (
    TaskEnded as TaskEnded,
)
from taskqueuex.app import (
    TaskExpired as TaskExpired,
)
from taskqueuex.app import (
    TaskFailed as TaskFailed,
)
from taskqueuex.app import (
    Workflow as Workflow,
)
from taskqueuex.app import (
    WorkflowHandle as WorkflowHandle,
)
from taskqueuex.app import (
    chain as chain,
)
from taskqueuex.app import (
    chord as chord,
)
from taskqueuex.app import (
    current_context as current_context,
)
from taskqueuex.app import (
    group as group,
)
from taskqueuex.app import (
    injected as injected,
)
from taskqueuex.client import TLS as TLS
from taskqueuex.client import AsyncClient as AsyncClient
from taskqueuex.client import Client as Client
from taskqueuex.client import RetryPolicy as RetryPolicy

__version__: str
