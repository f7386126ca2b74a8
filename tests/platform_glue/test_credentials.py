"""No password of an address reaches a message, whatever the address looks like and whoever writes the message."""

import pytest
from ead_platform.cluster.credentials import hide_credentials
from ead_platform.cluster.settings import Settings
from ead_platform.tracking.store import StoreError, open_store


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://ead:secret@db/mlflow", "postgresql://ead:***@db/mlflow"),
        ("postgresql+psycopg://ead:se:cr/et@x@db:5432/mlflow", "postgresql+psycopg://ead:***@db:5432/mlflow"),
        ("postgresql://ead:s%40cret@db/mlflow", "postgresql://ead:***@db/mlflow"),
        ("postgresql://:secret@db/mlflow", "postgresql://:***@db/mlflow"),
        ("https://ead:secret@tracking.example/mlflow", "https://ead:***@tracking.example/mlflow"),
        ("https://secrettoken@tracking.example", "https://***@tracking.example"),
        ("https://tracking.example/?token=secret#/runs", "https://tracking.example/?token=***"),
        ("postgresql:///mlflow?user=ead&password=secret&host=/run", "postgresql:///mlflow?user=ead&password=***&host=/run"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Dsa%3BPWD%3Dsecret%3BDSN%3Dx", "mssql+pyodbc:///?odbc_connect=UID%3Dsa%3BPWD%3D***%3BDSN%3Dx"),
        ("PGPASSWORD=secret psql", "PGPASSWORD=*** psql"),
        ("two: http://a:secret@b and http://c:secret@d", "two: http://a:***@b and http://c:***@d"),
    ],
)  # fmt: skip
def test_a_password_is_hidden_and_the_rest_of_its_address_is_not(address, shown):
    assert hide_credentials(address) == shown


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:////home/me@work/mlflow.db",
        "postgresql://ead@db/mlflow",
        "postgresql+psycopg://",
        "http://127.0.0.1:5000/#/experiments/1",
        "s3://bucket/runs@home",
        "models:/ead-qm9@champion",
        "file:///home/me@work",
        "databricks",
        "RAY_AUTH_MODE=token",
        "",
    ],
)
def test_what_holds_no_password_is_shown_as_it_is(address):
    assert hide_credentials(address) == address


@pytest.mark.parametrize(
    ("message", "address"),
    [
        ('could not translate host name "cret@db" to address', "postgresql://ead:se@cret@db/mlflow"),
        ("no user with password s@cret", "postgresql://ead:s%40cret@db/mlflow"),
        ("FATAL: hunter2 is wrong", "postgresql:///mlflow?password=hunter2"),
        ("401 for https://ead:hunter2@h/api", "https://ead:hunter2@h"),
    ],
)
def test_a_password_is_hidden_where_it_stands_without_its_address(message, address):
    told = hide_credentials(message, address)
    assert not any(part in told for part in ("cret", "s@", "hunter2"))
    assert "***" in told


def test_settings_and_their_errors_show_no_password(tmp_path):
    address = "postgresql://ead:hunter2@127.0.0.1:1/mlflow"
    settings = Settings(address, None, None, False)
    assert settings.shown_uri == "postgresql://ead:***@127.0.0.1:1/mlflow"
    assert "hunter2" not in repr(settings) + settings.ui_command
    with pytest.raises(StoreError, match=r"^the MLflow store postgresql://ead:\*\*\*@") as error, open_store(settings):
        pass
    assert "hunter2" not in str(error.value)
