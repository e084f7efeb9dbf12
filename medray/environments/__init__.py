"""Who answers the policy in dialogues of several turns: one small file each, and a line in the registry."""
