-- A leave has a position of its own in the group's channel, which is the membership's to_seq. Each node asks who left above
-- what it knows before it hands on later commands.
CREATE INDEX member_left ON member (group_id, to_seq) WHERE to_seq IS NOT NULL;
