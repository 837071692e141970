"""The one canonical body from which every virtual patient is made, as shapes in LPS mm."""
