# SPDX-License-Identifier: MIT
# Modules that are part of the interpreter's binary.
include("$(MPY_DIR)/extmod/asyncio")
