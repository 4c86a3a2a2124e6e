"""A node of ROS 2: the centre of mass of each segmented point cloud, and the payload if the mass is known.

Subscribes to ``points``: sensor_msgs/PointCloud2 of one object, in the frame of the sensor. Publishes, with
its stamp and in its frame, ``~/centre_of_mass`` (PointStamped), ``~/marker`` (Marker, the ellipsoid that
holds nine in ten true centres) and, if the parameter ``mass`` is above 0, ``~/inertia`` (InertiaStamped).
"""

import sys

try:
    import rclpy
    from geometry_msgs.msg import InertiaStamped, PointStamped
    from rclpy.executors import ExternalShutdownException
    from rclpy.node import Node
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import PointCloud2
    from visualization_msgs.msg import Marker

    import plumbline
    from plumbline.ros.messages import INERTIA, MARKER, POINT, answer_fields, cloud_of, fill
except ImportError as error:
    how = "source ROS 2 (source /opt/ros/jazzy/setup.bash), and use a Python that plumbline is installed for"
    print(f"error: {error}: {how}", file=sys.stderr)
    sys.exit(2)

TOPICS = {
    POINT: (PointStamped, "~/centre_of_mass"),
    MARKER: (Marker, "~/marker"),
    INERTIA: (InertiaStamped, "~/inertia"),
}


class CentreOfMass(Node):
    """Answers each cloud.

    Parameters: ``mass`` in kilograms, 0 if it is not known; ``strict``: give no answer that has a warning;
    ``checkpoint``: of a model, by default the shipped one.
    """

    def __init__(self) -> None:
        super().__init__("centre_of_mass")
        self.mass = self.declare_parameter("mass", 0.0).value
        self.strict = self.declare_parameter("strict", False).value
        self.predictor = plumbline.load_predictor(self.declare_parameter("checkpoint", "pretrained").value)
        self.outputs = {kind: self.create_publisher(*topic, 10) for kind, topic in TOPICS.items()}
        self.create_subscription(PointCloud2, "points", self.answer, qos_profile_sensor_data)

    def answer(self, message: PointCloud2) -> None:
        """Publish the answer for a cloud, or log in a sentence why there is none."""
        try:
            cloud = cloud_of(message, "the cloud")
            prediction = self.predictor.predict(cloud, strict=self.strict)
            payload = prediction.payload(self.mass) if self.mass else None
        except plumbline.InputError as error:
            self.get_logger().warning(str(error))
            return
        for warning in prediction.warnings:
            self.get_logger().warning(warning)
        for kind, fields in answer_fields(prediction, message.header.stamp, payload).items():
            self.outputs[kind].publish(fill(TOPICS[kind][0](), fields))


def main() -> None:
    """Run until it is stopped."""
    rclpy.init()
    node = CentreOfMass()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
