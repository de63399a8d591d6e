# %% [markdown]
# # What a sentence names
#
# REPLACED
