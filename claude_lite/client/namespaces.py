"""The API's groups of methods: `client.files.upload`, `client.skills.list`, ...

`list` gets one page; `items` iterates the items of all pages. `client.beta` repeats some groups, as
the official SDK does. All operations take `betas=[...]`, inside and outside of `client.beta`.
"""

from claude_lite.api.completions import (
    CreateChatCompletion,
    CreateCompletion,
    StreamChatCompletion,
    StreamCompletion,
)
from claude_lite.api.files import (
    DeleteFile,
    DownloadFile,
    ListFiles,
    RetrieveFileMetadata,
    UploadFile,
)
from claude_lite.api.models import ListModels, RetrieveModel
from claude_lite.api.organization import (
    CreateInvite,
    DeleteInvite,
    ListAPIKeys,
    ListInvites,
    ListUsers,
    RemoveUser,
    RetrieveAPIKey,
    RetrieveInvite,
    RetrieveOrganization,
    RetrieveUser,
    UpdateAPIKey,
    UpdateUser,
)
from claude_lite.api.reports import ClaudeCodeUsageReport, CostReport, MessagesUsageReport
from claude_lite.api.skills import (
    CreateSkill,
    CreateSkillVersion,
    DeleteSkill,
    DeleteSkillVersion,
    DownloadSkillVersion,
    ListSkills,
    ListSkillVersions,
    RetrieveSkill,
    RetrieveSkillVersion,
)
from claude_lite.api.workspaces import (
    AddWorkspaceMember,
    ArchiveWorkspace,
    CreateWorkspace,
    ListWorkspaceMembers,
    ListWorkspaces,
    RemoveWorkspaceMember,
    RetrieveWorkspace,
    RetrieveWorkspaceMember,
    UpdateWorkspace,
    UpdateWorkspaceMember,
)
from claude_lite.client.endpoints import (
    C_co,
    Endpoint,
    ItemsEndpoint,
    Namespace,
    StreamEndpoint,
)
from claude_lite.client.messages import BetaMessages


class Models(Namespace[C_co]):
    """The models that the API offers."""

    list = Endpoint(ListModels)
    items = ItemsEndpoint(ListModels)
    retrieve = Endpoint(RetrieveModel)


class Files(Namespace[C_co]):
    """Files. `client.download(DownloadFile(...), path)` writes a download to disk in pieces."""

    upload = Endpoint(UploadFile)
    list = Endpoint(ListFiles)
    items = ItemsEndpoint(ListFiles)
    retrieve_metadata = Endpoint(RetrieveFileMetadata)
    download = StreamEndpoint(DownloadFile)
    delete = Endpoint(DeleteFile)


class SkillVersions(Namespace[C_co]):
    """Versions of a skill."""

    create = Endpoint(CreateSkillVersion)
    list = Endpoint(ListSkillVersions)
    items = ItemsEndpoint(ListSkillVersions)
    retrieve = Endpoint(RetrieveSkillVersion)
    delete = Endpoint(DeleteSkillVersion)
    download = StreamEndpoint(DownloadSkillVersion)


class Skills(Namespace[C_co]):
    """Skills."""

    create = Endpoint(CreateSkill)
    list = Endpoint(ListSkills)
    items = ItemsEndpoint(ListSkills)
    retrieve = Endpoint(RetrieveSkill)
    delete = Endpoint(DeleteSkill)

    @property
    def versions(self) -> SkillVersions[C_co]:
        """Versions of a skill."""
        return SkillVersions(self.client)


class Completions(Namespace[C_co]):
    """Text completions (legacy)."""

    create = Endpoint(CreateCompletion)
    stream = StreamEndpoint(StreamCompletion)


class ChatCompletions(Namespace[C_co]):
    """Chat completions, as the OpenAI SDK sends them."""

    create = Endpoint(CreateChatCompletion)
    stream = StreamEndpoint(StreamChatCompletion)


class Chat(Namespace[C_co]):
    """`client.chat`: has `completions`, as in the OpenAI SDK."""

    @property
    def completions(self) -> ChatCompletions[C_co]:
        """Chat completions."""
        return ChatCompletions(self.client)


class Invites(Namespace[C_co]):
    """Invitations to the organization."""

    create = Endpoint(CreateInvite)
    retrieve = Endpoint(RetrieveInvite)
    list = Endpoint(ListInvites)
    items = ItemsEndpoint(ListInvites)
    delete = Endpoint(DeleteInvite)


class Users(Namespace[C_co]):
    """Users of the organization."""

    retrieve = Endpoint(RetrieveUser)
    list = Endpoint(ListUsers)
    items = ItemsEndpoint(ListUsers)
    update = Endpoint(UpdateUser)
    remove = Endpoint(RemoveUser)


class Members(Namespace[C_co]):
    """Members of a workspace."""

    add = Endpoint(AddWorkspaceMember)
    retrieve = Endpoint(RetrieveWorkspaceMember)
    list = Endpoint(ListWorkspaceMembers)
    items = ItemsEndpoint(ListWorkspaceMembers)
    update = Endpoint(UpdateWorkspaceMember)
    remove = Endpoint(RemoveWorkspaceMember)


class Workspaces(Namespace[C_co]):
    """Workspaces of the organization."""

    create = Endpoint(CreateWorkspace)
    retrieve = Endpoint(RetrieveWorkspace)
    list = Endpoint(ListWorkspaces)
    items = ItemsEndpoint(ListWorkspaces)
    update = Endpoint(UpdateWorkspace)
    archive = Endpoint(ArchiveWorkspace)

    @property
    def members(self) -> Members[C_co]:
        """Members of a workspace."""
        return Members(self.client)


class APIKeys(Namespace[C_co]):
    """API keys of the organization."""

    retrieve = Endpoint(RetrieveAPIKey)
    list = Endpoint(ListAPIKeys)
    items = ItemsEndpoint(ListAPIKeys)
    update = Endpoint(UpdateAPIKey)


class UsageReport(Namespace[C_co]):
    """Usage reports."""

    messages = Endpoint(MessagesUsageReport)
    claude_code = Endpoint(ClaudeCodeUsageReport)


class OrganizationGroup(Namespace[C_co]):
    """The Admin API. It needs an admin key."""

    retrieve = Endpoint(RetrieveOrganization)
    cost_report = Endpoint(CostReport)

    @property
    def invites(self) -> Invites[C_co]:
        """Invitations to the organization."""
        return Invites(self.client)

    @property
    def users(self) -> Users[C_co]:
        """Users of the organization."""
        return Users(self.client)

    @property
    def workspaces(self) -> Workspaces[C_co]:
        """Workspaces of the organization."""
        return Workspaces(self.client)

    @property
    def api_keys(self) -> APIKeys[C_co]:
        """API keys of the organization."""
        return APIKeys(self.client)

    @property
    def usage_report(self) -> UsageReport[C_co]:
        """Usage reports."""
        return UsageReport(self.client)


class Beta(Namespace[C_co]):
    """`client.beta`: groups with the same methods. Beta features need `betas=[...]` here, too."""

    @property
    def messages(self) -> BetaMessages[C_co]:
        """Messages."""
        return BetaMessages(self.client)

    @property
    def models(self) -> Models[C_co]:
        """The models that the API offers."""
        return Models(self.client)

    @property
    def files(self) -> Files[C_co]:
        """Files."""
        return Files(self.client)

    @property
    def skills(self) -> Skills[C_co]:
        """Skills."""
        return Skills(self.client)
