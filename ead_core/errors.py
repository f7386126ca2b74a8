"""The errors a user can cause; each carries one sentence that names what was wrong and what is accepted."""


class EADError(Exception):
    """A mistake in what came from outside; the command line prints the sentence and exits with code 2."""


class ConfigError(EADError):
    """An unknown key or a value outside its range in a recipe or an override."""


class DataError(EADError):
    """A data file that is missing, corrupt, or holds what the model cannot represent."""


class CheckpointError(EADError):
    """A checkpoint directory that is missing, incomplete, or of another version."""


class OutputError(EADError):
    """A place where results cannot be written."""
