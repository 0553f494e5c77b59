# SPDX-License-Identifier: Apache-2.0
# -DTL_HUB_SANITIZE=address,undefined | thread
set(TL_HUB_SANITIZE "" CACHE STRING "Sanitizers for the whole build, for example address,undefined")
if(TL_HUB_SANITIZE)
  add_compile_options(-fsanitize=${TL_HUB_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TL_HUB_SANITIZE})
endif()
