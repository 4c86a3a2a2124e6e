"""What ``prepare`` says at its end about meshes and real scans."""

import zipfile

import numpy as np
import pytest
import trimesh

from plumbline.data.prepare.input_report import InputReport, input_report, say_input_reports
from plumbline.geometry.clouds import Cloud, load_scan, read_labels, scan_of
from plumbline.geometry.graphs import build_sample
from plumbline.reporting import Reporter
from tests.helpers.preparing import SMALL, prepare


def said(*scans):
    lines = []
    say_input_reports(scans, Reporter(lambda event: lines.append(event.text)))
    return lines


def test_missing_returns_are_added_up():
    scans = [InputReport("b", 0.0, 1000, ()), InputReport("a", 0.0, 234, ())]
    assert said(*scans) == ["  2 real scans: 1,234 missing returns left out"]
    assert said(InputReport("a", 0.0, 1, ())) == ["  1 real scan: 1 missing return left out"]
    assert said() == []


def test_notes_of_one_kind_come_once():
    scans = [
        InputReport("b", 0.0, 0, ("the array of shape [3, 600] has a row for each of x, y and z",)),
        InputReport("a", 0.0, 0, ("the array of shape [3, 1,200] has a row for each of x, y and z",)),
        InputReport("c", 0.0, 0, ("its commas are read as decimal commas",)),
    ]
    assert said(*scans) == [
        "  2 files, such as a: the array of shape [3, 1,200] has a row for each of x, y and z",
        "  c: its commas are read as decimal commas",
    ]


def test_points_that_cleaning_left_out_and_much_of_them():
    lines = said(InputReport("a", 0.1, 0, ()), InputReport("b", 0.5, 0, ()))
    assert lines[0].startswith("  2 real scans lost points that are not connected to the object, 30.0 % on")
    assert lines[1].startswith("  warning: b: 50 % of the points")
    assert len(lines) == 2


@pytest.mark.parametrize("sensor", ["0,0,-1", ",,"])
def test_what_is_said_comes_from_the_file(tmp_path, sensor):
    points = np.random.default_rng(0).uniform([1, 2, 3], [2, 3, 4], (60, 3)).round(3)
    rows = "".join("{};{};{}\n".format(*row).replace(".", ",") for row in points.tolist())
    (tmp_path / "a.csv").write_text("x;y;z\n" + 20 * "0;0;0\n" + rows)
    (tmp_path / "labels.csv").write_text(
        f"file,com_x,com_y,com_z,sensor_x,sensor_y,sensor_z\na.csv,1.5,2.5,3.5,{sensor}\n"
    )
    [label] = read_labels(tmp_path / "labels.csv")
    sample = build_sample(
        load_scan(label), k=4, edge_attr="none", sh_degree=0, normalise=True, object_name="a"
    )
    report = input_report("a", sample)
    assert report is not None
    assert (report.left_out, report.dropped) == (0, 20)
    assumed = ("the file does not give the position of its sensor, which is assumed at 0,0,0",)
    assert report.notes == ("its commas are read as decimal commas", *(assumed if sensor == ",," else ()))


def test_nothing_to_say():
    scan = scan_of(Cloud(np.random.default_rng(0).uniform(1, 2, (60, 3))), np.zeros(3))
    sample = build_sample(scan, k=4, edge_attr="none", sh_degree=0, normalise=True, object_name="a")
    assert input_report("a", sample) is None


def test_what_is_left_out_of_a_mesh_is_said_once(tmp_path, capsys):
    """A support of a 3mf file, however many scans are made."""
    space = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
    box = trimesh.creation.box()
    vertices = "".join('<vertex x="{}" y="{}" z="{}"/>'.format(*row) for row in box.vertices.tolist())
    faces = "".join('<triangle v1="{}" v2="{}" v3="{}"/>'.format(*row) for row in box.faces.tolist())
    mesh = f"<mesh><vertices>{vertices}</vertices><triangles>{faces}</triangles></mesh>"
    objects = f'<object id="1">{mesh}</object><object id="2" type="support">{mesh}</object>'
    with zipfile.ZipFile(tmp_path / "a.3mf", "w") as archive:
        archive.writestr(
            "3D/3dmodel.model",
            f'<model unit="meter" xmlns="{space}"><resources>{objects}</resources>'
            '<build><item objectid="1"/><item objectid="2" transform="1 0 0 0 1 0 0 0 1 5 0 0"/></build>'
            "</model>",
        )
    prepare(tmp_path / "a.3mf", "--out", tmp_path / "out", *SMALL)
    assert capsys.readouterr().out.count("a.3mf: 1 support object is left out") == 1
