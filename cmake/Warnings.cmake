# SPDX-License-Identifier: Apache-2.0
# One target that every room links: warnings and definitions.
add_library(tl_flags INTERFACE)
target_compile_options(tl_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes)
target_compile_definitions(tl_flags INTERFACE _GNU_SOURCE TL_HUB_VERSION="${PROJECT_VERSION}")
target_include_directories(tl_flags INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}>)
option(TL_HUB_WERROR "Warnings are errors" OFF)
if(TL_HUB_WERROR)
  target_compile_options(tl_flags INTERFACE -Werror)
endif()
