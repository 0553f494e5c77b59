# SPDX-License-Identifier: Apache-2.0
# -DTL_HUB_SANITIZE=address,undefined | thread
set(TL_HUB_SANITIZE "" CACHE STRING "Sanitizers for the whole build, for example address,undefined")
if(TL_HUB_SANITIZE)
  add_compile_options(-fsanitize=${TL_HUB_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TL_HUB_SANITIZE})
endif()
# What the fuzzer is guided by: which branches an input reached.
option(TL_HUB_FUZZ "Build the fuzz targets (clang)" OFF)
if(TL_HUB_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
