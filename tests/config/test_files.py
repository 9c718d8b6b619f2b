"""Where settings files are looked for."""

from pathlib import Path

from hetctl.config.files import project_file, settings_files, user_file


def test_the_nearest_file_up_to_the_project_s_root_holds(tmp_path: Path) -> None:
    project = tmp_path / "project"
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    (project / ".git").mkdir()
    (project / "hetctl.toml").touch()
    assert project_file(inner) == project / "hetctl.toml"
    (project / "a" / "hetctl.toml").touch()
    assert project_file(inner) == project / "a" / "hetctl.toml"


def test_a_file_above_the_project_is_not_read(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "hetctl.toml").touch()
    (project / ".git").write_text("gitdir: elsewhere")
    assert project_file(project) is None


def test_outside_a_project_only_the_folder_itself_counts(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "hetctl.toml").touch()
    assert project_file(inner) is None
    assert project_file(tmp_path) == tmp_path / "hetctl.toml"


def test_the_project_s_file_comes_before_the_user_s(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    user = user_file(environment)
    assert user == tmp_path / "xdg" / "hetctl" / "hetctl.toml"
    user.parent.mkdir(parents=True)
    user.touch()
    assert settings_files(tmp_path, environment) == (user,)
    (tmp_path / "hetctl.toml").touch()
    assert settings_files(tmp_path, environment) == (tmp_path / "hetctl.toml", user)


def test_a_relative_configuration_folder_is_ignored() -> None:
    home = Path("~/.config/hetctl/hetctl.toml").expanduser()
    assert user_file({"XDG_CONFIG_HOME": "here"}) == home
