"""ROS 2 without ROS: its messages, and its bags."""
